"""Qwen3's mixtures of experts (Yang et al., 2025): Qwen3 with experts in most layers. https://arxiv.org/abs/2505.09388"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.config_mixture import Unsaid, gguf_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder
from lutmac.models.qwen2_moe import json_qwen_dense_layers
from lutmac.models.qwen3 import GGUF_NAMES, NormedHeads

DEFAULTS = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}


class Qwen3Moe(MixtureDecoder, NormedHeads):
    """Experts, and norms of heads."""


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    read, layers = MetadataReader(config, ""), decoder.num_hidden_layers
    of_images = str(config.get("model_type")).startswith("qwen3_vl_moe")  # which always has it so
    uses_window = config.get("use_sliding_window") is True
    return MixtureConfig(
        **{
            **vars(decoder),
            "windows": read_windows(config, layers, lambda _: uses_window) if uses_window else (),
            "num_experts": read.integer("num_experts", read.integer("num_local_experts", 128)),
            "num_experts_per_tok": read.integer("num_experts_per_tok", 8),
            "moe_intermediate_size": read.integer("moe_intermediate_size", 768),
            "norm_topk_prob": of_images or config.get("norm_topk_prob", False) is True,
            "dense_layers": json_qwen_dense_layers(config, layers),
        }
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys, under "qwen3vlmoe" for the text of Qwen3-VL; such files have experts in every layer."""
    architecture = str(metadata.get("general.architecture", "qwen3moe"))
    decoder = read_gguf_decoder_config(metadata, architecture, "half_split")
    used = MetadataReader(metadata, architecture).same_for_all_layers("expert_used_count")
    return gguf_mixture(decoder, metadata, architecture, Unsaid(width=decoder.intermediate_size // used))


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return Qwen3Moe(config).model()


ARCHITECTURE = Architecture(
    "qwen3_moe", read_config, read_gguf_config, gguf_names({**GGUF_NAMES, **MIXTURE_NAMES}), build
)
