"""Ministral 3 and Mistral Small 3 (Mistral AI, 2025): Mistral, of which the former scales queries by their position.

https://arxiv.org/abs/2601.08584
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.llama import ARCHITECTURE as LLAMA
from lutmac.models.metadata import MetadataReader

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 131072, "intermediate_size": 14336, "num_hidden_layers": 34, "num_key_value_heads": 8,
    "head_dim": 128, "max_position_embeddings": 262144, "rms_norm_eps": 1e-5,
    "rope_parameters": {
        "type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16384, "beta_fast": 32.0,
        "beta_slow": 1.0, "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1,
    },
}  # fmt: skip


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    defaults = {key: value for key, value in DEFAULTS.items() if key != "rope_parameters" or "rope_theta" not in config}
    config = {**defaults, **config, "model_type": "ministral3"}
    decoder = read_decoder_config(config)
    windows = read_windows(config, decoder.num_hidden_layers, lambda _: True)
    ropes = config.get("rope_parameters")
    read = MetadataReader(ropes if isinstance(ropes, Mapping) else {}, "")
    beta = read.number("llama_4_scaling_beta", 0.0)
    period = read.integer("original_max_position_embeddings", decoder.max_position_embeddings) if beta else 0
    return replace(decoder, windows=windows, query_beta=beta, query_period=period)


ARCHITECTURE = Architecture("ministral3", read_config, LLAMA.read_gguf_config, LLAMA.gguf_tensor_name, LLAMA.build)
