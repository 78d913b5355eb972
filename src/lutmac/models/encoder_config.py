"""Reads an encoder's configuration, from config.json or a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.encoder import ClassifierPooling, EncoderConfig
from lutmac.models.metadata import MetadataReader
from lutmac.models.stablelm import with_layer_norm_eps

# llama.cpp's enum llama_pooling_type, which `<architecture>.classifier.pooling_type` is of.
CLASSIFIER_POOLING: Mapping[int, ClassifierPooling] = {1: "mean", 2: "cls"}


def json_encoder_config(config: Mapping[str, Any], **different: Any) -> EncoderConfig:
    """Of a config.json with the defaults of the family. different: fields that the family reads by itself.

    Raises CheckpointError for keys that are malformed.
    """
    eps = MetadataReader(config, "").number("layer_norm_eps")
    positions = different.get("max_position_embeddings", config.get("max_position_embeddings"))
    if type(positions) is int and positions < 1:
        raise CheckpointError(f"max_position_embeddings leaves {positions} positions")
    decoder = read_decoder_config(
        {**config, "rms_norm_eps": eps, "max_position_embeddings": positions, "is_causal": None}
    )
    return _without_rope(EncoderConfig(**{**vars(decoder), "bidirectional": True, **different}))


def _without_rope(config: EncoderConfig) -> EncoderConfig:
    """Learned positions are instead of a rope."""
    return replace(config, no_rope_layers=tuple(range(config.num_hidden_layers))) if config.position_rows else config


def gguf_encoder_config(
    metadata: Mapping[str, Any], architecture: str, *, unsaid: ClassifierPooling = "cls", **different: Any
) -> EncoderConfig:
    """Of a GGUF file's metadata. unsaid: what a head reads where the file does not say. different: see above.

    Raises CheckpointError for keys that are missing or malformed.
    """
    metadata = {**with_layer_norm_eps(metadata, architecture), f"{architecture}.attention.causal": True}
    decoder = read_gguf_decoder_config(metadata, architecture, "half_split")
    types = metadata.get("tokenizer.ggml.token_type_count", 1)
    pooling = MetadataReader(metadata, architecture).integer("classifier.pooling_type", 0, low=0)
    config = EncoderConfig(
        **{
            **vars(decoder),
            "bidirectional": True,
            "activation": "gelu",
            "type_vocab_size": MetadataReader({"token_type_count": types}, "").integer("token_type_count", low=0),
            "classifier_pooling": CLASSIFIER_POOLING.get(pooling, unsaid),
            **different,
        }
    )
    return _without_rope(config)
