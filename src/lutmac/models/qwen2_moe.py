"""Qwen2's mixtures of experts (Yang et al., 2024): experts beside an MLP with a gate for each token.

https://arxiv.org/abs/2407.10671
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder, SharedNames

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
    "num_attention_heads": 16, "max_position_embeddings": 32768, "sliding_window": 4096, "num_experts": 60,
    "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
    "norm_topk_prob": False,
}  # fmt: skip


class Qwen2Moe(MixtureDecoder):
    """A shared MLP with a gate."""

    SHARED = SharedNames("mlp.shared_expert", "mlp.shared_expert_gate")


def json_qwen_dense_layers(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """Layers without experts: those of ``mlp_only_layers``, and all but each ``decoder_sparse_step``-th."""
    dense, step = config.get("mlp_only_layers") or [], MetadataReader(config, "").integer("decoder_sparse_step", 1)
    if not isinstance(dense, list):
        raise CheckpointError(f"mlp_only_layers is {dense!r:.60}, expected a list of layers")
    return tuple(layer for layer in range(layers) if layer in dense or (layer + 1) % step)


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json. Windows are in every other layer below ``max_window_layers``."""
    config = {**DEFAULTS, **config}
    read, decoder = MetadataReader(config, ""), read_decoder_config(config)
    layers, below = decoder.num_hidden_layers, read.integer("max_window_layers", 28, low=0)
    if config.get("use_sliding_window") is True:
        windows = read_windows(config, layers, lambda layer: layer % 2 == 0 and layer < below)
        decoder = replace(decoder, windows=windows)
    return json_mixture(
        decoder,
        config,
        shared_width=read.integer("shared_expert_intermediate_size"),
        dense_layers=json_qwen_dense_layers(config, layers),
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys."""
    read, decoder = MetadataReader(metadata, "qwen2moe"), read_gguf_decoder_config(metadata, "qwen2moe", "half_split")
    return gguf_mixture(
        decoder,
        metadata,
        "qwen2moe",
        Unsaid(normalized=False, width=decoder.intermediate_size // read.same_for_all_layers("expert_used_count")),
        shared_width=read.integer("expert_shared_feed_forward_length", decoder.intermediate_size),
    )


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return Qwen2Moe(config).model()


ARCHITECTURE = Architecture("qwen2_moe", read_config, read_gguf_config, gguf_names(MIXTURE_NAMES), build)
