"""Qwen3.5, 3.6 and 3.8, dense (Qwen Team, 2026): gated DeltaNet in three of four layers, gated attention in the others.

https://huggingface.co/Qwen/Qwen3.5-27B
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.delta_net import (
    DEFAULTS,
    GGUF_NAMES,
    HybridConfig,
    HybridDecoder,
    read_attention_layers,
    read_delta_net,
    read_gguf_attention_layers,
    read_gguf_delta_net,
)
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.qwen3 import NormedHeads

SIZES = {"vocab_size": 248320, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 32}


class Qwen35(NormedHeads, HybridDecoder):
    """Norms of the attention's heads."""


def read_config(config: Mapping[str, Any]) -> HybridConfig:
    """The keys of a config.json; norms' weights are stored less 1, but for those behind the delta rule."""
    config = {**DEFAULTS, **SIZES, **config}
    decoder = read_decoder_config(config)
    return HybridConfig(
        **{
            **vars(decoder),
            "norm_weight_bias": 1.0,
            "attention_layers": read_attention_layers(config, decoder.num_hidden_layers),
            "delta_net": read_delta_net(config),
        }
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> HybridConfig:
    """GGUF's keys; norms' weights are stored as they multiply."""
    decoder, read = read_gguf_decoder_config(metadata, "qwen35", "half_split"), MetadataReader(metadata, "qwen35")
    return HybridConfig(
        **vars(decoder),
        attention_layers=read_gguf_attention_layers(read, decoder.num_hidden_layers),
        delta_net=read_gguf_delta_net(read, tiled=True),
    )


def build(config: HybridConfig) -> Graph:
    """The graph of one step."""
    return Qwen35(config).model()


ARCHITECTURE = Architecture("qwen3_5", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
