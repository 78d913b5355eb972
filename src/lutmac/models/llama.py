"""Llama (Touvron et al., 2023) and the models of its shape: Llama 1 to 3, SmolLM 1 and 2, TinyLlama, Falcon 3.

With BitNet's quantisation (Falcon3-1.58bit) the inputs of its products are rounded to int8. https://arxiv.org/abs/2302.13971
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import gguf_mixture
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixtral import GGUF_NAMES, Mixtral


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys, under which Mixtral comes too; under "mistral3" Mistral Small 3 and Ministral 3."""
    architecture = str(metadata.get("general.architecture", "llama"))
    config = read_gguf_decoder_config(metadata, architecture, "interleaved")
    read = MetadataReader(metadata, architecture)
    beta = read.number("attention.temperature_scale", 0.0)
    if beta:
        period = read.integer("rope.scaling.original_context_length", config.max_position_embeddings)
        config = replace(config, query_beta=beta, query_period=period)
    return gguf_mixture(config, metadata, architecture) if read.integer("expert_count", 0, low=0) else config


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    if isinstance(config, MixtureConfig):
        return Mixtral(config).model()
    return Decoder(config).model()


ARCHITECTURE = Architecture("llama", read_decoder_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
