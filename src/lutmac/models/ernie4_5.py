"""ERNIE 4.5 (Baidu, 2025): Llama whose rope pairs neighbours. https://ernie.baidu.com/blog/publication/ERNIE_Technical_Report.pdf"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.llama import build

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 103424, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 18,
    "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "rope_theta": 5e5,
}  # fmt: skip


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return read_decoder_config({**DEFAULTS, **config}, "interleaved")


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    return read_gguf_decoder_config(metadata, "ernie4_5", "interleaved")


ARCHITECTURE = Architecture("ernie4_5", read_config, read_gguf_config, gguf_names(), build)
