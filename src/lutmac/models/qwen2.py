"""Qwen2 and Qwen2.5 (Yang et al., 2024): Llama with biases of q, k and v. https://arxiv.org/abs/2407.10671"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

DEFAULTS = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}


def qwen_windows(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """``sliding_window`` counts where ``use_sliding_window`` says so, from layer ``max_window_layers`` on."""
    if config.get("use_sliding_window") is not True:
        return ()
    first = MetadataReader(config, "").integer("max_window_layers", 28, low=0)
    return read_windows(config, layers, lambda layer: layer >= first)


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    return replace(decoder, windows=qwen_windows(config, decoder.num_hidden_layers))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys, under "qwen2vl" for the text of Qwen2-VL and Qwen2.5-VL."""
    return read_gguf_decoder_config(metadata, str(metadata.get("general.architecture", "qwen2")), "half_split")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Decoder(config).model()


ARCHITECTURE = Architecture("qwen2", read_config, read_gguf_config, gguf_names(), build)
