"""Command R7B and its like, Cohere 2 (Cohere, 2024): parallel layers with LayerNorms, windows in three of four layers.

Only windowed layers have rope. https://arxiv.org/abs/2504.00698
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.stablelm import LayerNormDecoder, with_layer_norm_eps

PERIOD = 4
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 256000, "hidden_size": 8192, "intermediate_size": 22528, "num_hidden_layers": 40,
    "num_attention_heads": 64, "max_position_embeddings": 8192, "sliding_window": 4096,
}  # fmt: skip


class Cohere2(LayerNormDecoder):
    """Parallel layers."""

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP on the same norm."""
        return self.parallel_decoder_layer(layer, hidden)


def _with_windows(decoder: DecoderConfig, windows: tuple[int, ...], logits_scale: float) -> DecoderConfig:
    whole = tuple(layer for layer in range(decoder.num_hidden_layers) if not (windows and windows[layer]))
    return replace(decoder, windows=windows, no_rope_layers=whole, logits_scale=logits_scale)


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read = MetadataReader(config, "")
    period = read.integer("sliding_window_pattern", read.integer("_sliding_window_pattern", PERIOD))
    decoder = read_decoder_config({**config, "rms_norm_eps": read.number("layer_norm_eps", 1e-5)}, "interleaved")
    windows = read_windows(config, decoder.num_hidden_layers, lambda layer: (layer + 1) % period != 0)
    return _with_windows(decoder, windows, read.number("logit_scale", 0.0625))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    read = MetadataReader(metadata, "cohere2")
    decoder = read_gguf_decoder_config(with_layer_norm_eps(metadata, "cohere2"), "cohere2", "interleaved")
    windows = read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: (layer + 1) % PERIOD != 0)
    return _with_windows(decoder, windows, read.number("logit_scale"))


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Cohere2(config).model()


ARCHITECTURE = Architecture("cohere2", read_config, read_gguf_config, gguf_names(), build)
