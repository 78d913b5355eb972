"""EXAONE 4 (LG AI Research, 2025): norms after attention and MLP, normed heads; no rope where all positions are seen.

The larger model has windows in three of four layers, the smaller none, and rope everywhere. https://arxiv.org/abs/2507.11407
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.olmo2 import GGUF_NAMES, PostNorms
from lutmac.models.qwen3 import NormedHeads

PERIOD = 4
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 102400, "intermediate_size": 16384, "num_key_value_heads": 32, "rms_norm_eps": 1e-5,
    "sliding_window": 4096, "sliding_window_pattern": PERIOD,
}  # fmt: skip


class Exaone4(PostNorms, NormedHeads):
    """Post-norms, and norms of heads."""


def _with_windows(decoder: DecoderConfig, windows: tuple[int, ...]) -> DecoderConfig:
    whole = tuple(layer for layer, window in enumerate(windows) if not window)
    return replace(decoder, windows=windows, no_rope_layers=whole)


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json. The pattern is a period, or letters: L for a layer with a window, G for others."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    if config["sliding_window"] is None:
        return decoder
    pattern, layers = config["sliding_window_pattern"] or 0, decoder.num_hidden_layers
    if isinstance(pattern, str) and not set(pattern) - {"L", "G"}:
        windows = read_windows(config, layers, lambda i: i != layers - 1 and pattern[i % len(pattern)] == "L")
    elif type(pattern) is int and pattern >= 0:
        windows = read_windows(config, layers, lambda i: pattern > 0 and (i + 1) % pattern != 0)
    else:
        raise CheckpointError(f"sliding_window_pattern is {pattern!r:.60}, expected a number or letters L and G")
    return _with_windows(decoder, windows)


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    decoder, read = read_gguf_decoder_config(metadata, "exaone4", "half_split"), MetadataReader(metadata, "exaone4")
    windows = read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: (layer + 1) % PERIOD != 0)
    return _with_windows(decoder, windows)


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Exaone4(config).model()


ARCHITECTURE = Architecture("exaone4", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
