"""Phi 3, 3.5 and 4 (Abdin et al., 2024): Llama with q, k and v, and gate and up, in one matrix each.

https://arxiv.org/abs/2404.14219
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

GGUF_NAMES = {"mlp.gate_up_proj": "ffn_up"}
DEFAULTS = {
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    return replace(decoder, windows=read_windows(config, decoder.num_hidden_layers, lambda _: True))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    decoder = read_gguf_decoder_config(metadata, "phi3", "half_split")
    windows = read_gguf_windows(MetadataReader(metadata, "phi3"), decoder.num_hidden_layers, lambda _: True)
    return replace(decoder, windows=windows)


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Decoder(config).model()


ARCHITECTURE = Architecture("phi3", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
