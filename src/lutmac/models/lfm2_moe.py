"""LFM2-MoE and LFM2.5-MoE (Liquid AI, 2025): LFM2 with experts that sigmoid scores and a bias select.

https://arxiv.org/abs/2511.23404
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_mixture
from lutmac.models.gguf_names import gguf_names
from lutmac.models.lfm2 import GGUF_NAMES as LFM2_NAMES
from lutmac.models.lfm2 import Lfm2, Lfm2Config, attention_layers, gguf_convolutions
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder

_PARTS = {"gate": ("w1", "gate_proj"), "down": ("w2", "down_proj"), "up": ("w3", "up_proj")}
GGUF_NAMES = {
    **LFM2_NAMES,
    "feed_forward.gate": "ffn_gate_inp",
    "feed_forward.expert_bias": "exp_probs_b.bias",
    **{f"feed_forward.experts.{name}": f"ffn_{part}_exps" for part, names in _PARTS.items() for name in names},
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 65536, "hidden_size": 2048, "intermediate_size": 7168, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 128000, "rope_theta": 1e6,
    "moe_intermediate_size": 1792, "num_experts": 32, "num_experts_per_tok": 4, "num_dense_layers": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Lfm2MoeConfig(Lfm2Config, MixtureConfig):
    """Convolutions and experts."""


class Lfm2Moe(Lfm2, MixtureDecoder):
    """Layers of a convolution or attention, and of an MLP or experts."""

    NAMES = (
        ExpertNames("feed_forward", "w1", "w3", "w2"),
        ExpertNames("feed_forward", "gate_proj", "up_proj", "down_proj"),
    )
    SELECTION_BIASES = ("feed_forward.expert_bias",)
    config: Lfm2MoeConfig

    def __init__(self, config: Lfm2MoeConfig) -> None:
        """As a decoder."""
        super().__init__(config)


def read_config(config: Mapping[str, Any]) -> Lfm2MoeConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read = MetadataReader(config, "")
    decoder = read_decoder_config({**config, "rms_norm_eps": read.number("norm_eps", 1e-5)})
    layers = decoder.num_hidden_layers
    dense = range(min(read.integer("num_dense_layers", low=0), layers))
    return Lfm2MoeConfig(
        **vars(json_mixture(decoder, config, scores="sigmoid", dense_layers=dense)),
        attention_layers=attention_layers(config, layers),
        kernel=read.integer("conv_L_cache", 3),
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> Lfm2MoeConfig:
    """GGUF's keys."""
    decoder, convolutions = gguf_convolutions(metadata, "lfm2moe")
    return Lfm2MoeConfig(**vars(gguf_mixture(decoder, metadata, "lfm2moe", Unsaid("sigmoid"))), **convolutions)


def build(config: Lfm2MoeConfig) -> Graph:
    """The graph of one step."""
    return Lfm2Moe(config).model()


ARCHITECTURE = Architecture("lfm2_moe", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
