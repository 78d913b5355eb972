"""Mistral (Jiang et al., 2023): Llama with attention over a sliding window. https://arxiv.org/abs/2310.06825

In GGUF it is a llama, and has lost its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.llama import ARCHITECTURE as LLAMA

DEFAULTS = {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    return replace(decoder, windows=read_windows(config, decoder.num_hidden_layers, lambda _: True))


ARCHITECTURE = Architecture("mistral", read_config, LLAMA.read_gguf_config, LLAMA.gguf_tensor_name, LLAMA.build)
