"""Seed-OSS (ByteDance, 2025): Llama with biases of q, k and v. https://huggingface.co/ByteDance-Seed/Seed-OSS-36B-Instruct"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.llama import build

GGUF_NAMES = {"post_attention_layernorm": "post_attention_norm"}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 155136, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 80,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 524288,
}  # fmt: skip


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return read_decoder_config({**DEFAULTS, **config})


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    return read_gguf_decoder_config(metadata, "seed_oss", "half_split")


ARCHITECTURE = Architecture("seed_oss", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
