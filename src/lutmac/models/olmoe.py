"""OLMoE (Muennighoff et al., 2024): Llama with a mixture of experts, and norms of q and k over their whole width.

https://arxiv.org/abs/2409.02060
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.mixture import MixtureDecoder
from lutmac.models.olmo2 import NormedQueriesAndKeys

GGUF_NAMES = {**MIXTURE_NAMES, "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 16, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "num_experts": 64,
    "num_experts_per_tok": 8, "norm_topk_prob": False,
}  # fmt: skip


class OlmoE(MixtureDecoder, NormedQueriesAndKeys):
    """Experts, and norms of queries and keys."""


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json. Raises UnsupportedModelError where queries, keys and values are cut off."""
    config = {**DEFAULTS, **config}
    if config.get("clip_qkv") is not None:
        raise UnsupportedModelError(
            f"queries, keys and values cut off at {config['clip_qkv']} (clip_qkv) are not supported"
        )
    decoder = read_decoder_config(config)
    return json_mixture(decoder, {**config, "moe_intermediate_size": decoder.intermediate_size})


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys."""
    return gguf_mixture(
        read_gguf_decoder_config(metadata, "olmoe", "half_split"), metadata, "olmoe", Unsaid(normalized=False)
    )


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return OlmoE(config).model()


ARCHITECTURE = Architecture("olmoe", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
