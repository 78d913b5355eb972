"""Granite 3 and 4 (IBM, 2024): Llama with multipliers of embeddings, scores, residuals and logits.

https://huggingface.co/docs/transformers/model_doc/granite
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.llama import build
from lutmac.models.metadata import MetadataReader


def with_multipliers(
    decoder: DecoderConfig, embedding: float, attention: float, residual: float, divisor: float
) -> DecoderConfig:
    """The same with multipliers, of which the last divides. Raises CheckpointError where it cannot."""
    if divisor <= 0:
        raise CheckpointError(f"logits are divided by {divisor}, expected a number above 0")
    return replace(
        decoder,
        embedding_scale=embedding,
        attention_scale=attention,
        residual_scale=residual,
        logits_scale=1 / divisor,
    )


def json_multipliers(config: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """A config.json's multipliers, as ``with_multipliers`` takes them."""
    read = MetadataReader(config, "")
    embedding, attention, residual = (
        read.number(f"{name}_multiplier", 1.0) for name in ("embedding", "attention", "residual")
    )
    return embedding, attention, residual, read.number("logits_scaling", 1.0)


def gguf_multipliers(read: MetadataReader, head_dim: int) -> tuple[float, float, float, float]:
    """A GGUF file's multipliers, as ``with_multipliers`` takes them."""
    return (
        read.number("embedding_scale", 1.0) or 1.0,
        read.number("attention.scale", 0.0) or head_dim**-0.5,
        read.number("residual_scale", 1.0) or 1.0,
        read.number("logit_scale", 1.0) or 1.0,
    )


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return with_multipliers(read_decoder_config(config), *json_multipliers(config))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    read = MetadataReader(metadata, "granite")
    decoder = read_gguf_decoder_config(metadata, "granite", "interleaved")
    if metadata.get("granite.rope.scaling.finetuned", True) is False:  # so Granite's converter says: no rope at all
        decoder = replace(decoder, no_rope_layers=tuple(range(decoder.num_hidden_layers)))
    return with_multipliers(decoder, *gguf_multipliers(read, decoder.head_dim))


ARCHITECTURE = Architecture("granite", read_config, read_gguf_config, gguf_names(), build)
