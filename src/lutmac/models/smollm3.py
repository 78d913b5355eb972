"""SmolLM3: Llama of which every fourth layer does without rotary embeddings (Yang et al., 2025).

https://huggingface.co/blog/smollm3, https://arxiv.org/abs/2501.18795
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

INTERVAL = 4
DEFAULTS = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_theta": 2e6,
}


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json. ``no_rope_layers`` has a 0 for each layer without rotary embeddings, 1 for others."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    layers = decoder.num_hidden_layers
    interval = MetadataReader(config, "").integer("no_rope_layer_interval", INTERVAL)
    rotated = config.get("no_rope_layers") or [int((layer + 1) % interval != 0) for layer in range(layers)]
    if not isinstance(rotated, list) or len(rotated) != layers:
        raise CheckpointError(f"no_rope_layers is not a list of {layers} numbers")
    plain = tuple(layer for layer in range(layers) if not rotated[layer])
    uses_window = config.get("use_sliding_window") is True
    windows = read_windows(config, layers, lambda layer: uses_window and layer in plain)
    return replace(decoder, no_rope_layers=plain, windows=windows)


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys, which say nothing of the layers without rotary embeddings."""
    decoder = read_gguf_decoder_config(metadata, "smollm3", "interleaved")
    return replace(decoder, no_rope_layers=tuple(range(INTERVAL - 1, decoder.num_hidden_layers, INTERVAL)))


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Decoder(config).model()


ARCHITECTURE = Architecture("smollm3", read_config, read_gguf_config, gguf_names(), build)
