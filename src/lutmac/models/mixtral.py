"""Mixtral (Jiang et al., 2024): Mistral with a mixture of experts in every layer. https://arxiv.org/abs/2401.04088

In GGUF it is a llama with experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.config_mixture import gguf_mixture
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder

_PARTS = {"gate": ("w1", "gate_proj"), "up": ("w3", "up_proj"), "down": ("w2", "down_proj")}
GGUF_NAMES = {
    f"{mixture}.{name}": gguf
    for mixture in ("block_sparse_moe", "mlp")
    for name, gguf in (
        ("gate", "ffn_gate_inp"),
        *((f"experts.{name}", f"ffn_{part}_exps") for part, names in _PARTS.items() for name in names),
    )
}


DEFAULTS = {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
}


class Mixtral(MixtureDecoder):
    """By the names of its authors, or of tools that write what transformers 5 has in memory."""

    NAMES = (
        ExpertNames("block_sparse_moe", "w1", "w3", "w2"),
        ExpertNames("mlp", "gate_proj", "up_proj", "down_proj"),
        ExpertNames("mlp", "w1", "w3", "w2"),
        ExpertNames("block_sparse_moe", "gate_proj", "up_proj", "down_proj"),
    )


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    read = MetadataReader(config, "")
    return MixtureConfig(
        **{
            **vars(decoder),
            "windows": read_windows(config, decoder.num_hidden_layers, lambda _: True),
            "num_experts": read.integer("num_local_experts", 8),
            "num_experts_per_tok": read.integer("num_experts_per_tok", 2),
            "moe_intermediate_size": decoder.intermediate_size,
        }
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys."""
    return gguf_mixture(read_gguf_decoder_config(metadata, "llama", "interleaved"), metadata, "llama")


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return Mixtral(config).model()


ARCHITECTURE = Architecture("mixtral", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
