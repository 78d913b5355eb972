"""EmbeddingGemma in GGUF (Vera et al., 2025): Gemma 3 in both directions.

https://arxiv.org/abs/2509.20354
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.gemma3 import ARCHITECTURE as GEMMA3

NAME, PREFIX = "gemma-embedding", "gemma-embedding."


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys, which are Gemma 3's under another prefix."""
    renamed = {f"gemma3.{key.removeprefix(PREFIX)}": value for key, value in metadata.items() if key.startswith(PREFIX)}
    config = GEMMA3.read_gguf_config({**metadata, **renamed, "gemma3.attention.causal": True})
    assert isinstance(config, DecoderConfig)
    return replace(config, bidirectional=True)


ARCHITECTURE = Architecture(NAME, GEMMA3.read_config, read_gguf_config, GEMMA3.gguf_tensor_name, GEMMA3.build)
