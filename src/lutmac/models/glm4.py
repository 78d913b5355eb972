"""GLM-4 (0414 and later; Zeng et al., 2024): norms on both sides of attention and MLP, half of each head rotated.

https://arxiv.org/abs/2406.12793
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gemma2 import NormedTwice
from lutmac.models.gguf_names import gguf_names

GGUF_NAMES = {
    "post_self_attn_layernorm": "post_attention_norm",
    "post_mlp_layernorm": "post_ffw_norm",
    "mlp.gate_up_proj": "ffn_up",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 151552, "intermediate_size": 13696, "num_hidden_layers": 40, "num_key_value_heads": 2,
    "head_dim": 128, "max_position_embeddings": 131072, "rms_norm_eps": 1.5625e-7, "partial_rotary_factor": 0.5,
}  # fmt: skip


class Glm4(NormedTwice):
    """By their names."""

    NORMS = ("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm")


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return read_decoder_config({**DEFAULTS, **config}, "interleaved")


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    return read_gguf_decoder_config(metadata, "glm4", "interleaved")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Glm4(config).model()


ARCHITECTURE = Architecture("glm4", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
