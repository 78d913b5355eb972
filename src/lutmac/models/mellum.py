"""Mellum 2 (JetBrains, 2026): Qwen3's mixture of experts with windows, whose layers have a rope of their own.

https://huggingface.co/docs/transformers/model_doc/mellum
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_ropes_by_type, read_windows
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_dense_layers, json_mixture
from lutmac.models.metadata import MetadataReader
from lutmac.models.qwen3_moe import ARCHITECTURE as QWEN3_MOE
from lutmac.models.rope import RopeConfig

PERIOD = 4
LOCAL_THETA = 10000.0
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 98304, "hidden_size": 2304, "intermediate_size": 7168, "num_hidden_layers": 28,
    "num_key_value_heads": 4, "head_dim": 128, "max_position_embeddings": 131072, "sliding_window": 1024,
    "moe_intermediate_size": 896, "num_experts": 64, "num_experts_per_tok": 8,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": LOCAL_THETA},
    },
}  # fmt: skip


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config({**config, "rope_parameters": None, "rope_scaling": None})
    rope, local_rope = read_ropes_by_type(config, decoder.head_dim, LOCAL_THETA)
    layers = decoder.num_hidden_layers
    windows = () if config.get("layer_types") is None else read_windows(config, layers, lambda _: False)
    decoder = replace(decoder, rope=rope, local_rope=local_rope, windows=windows)
    return json_mixture(decoder, config, dense_layers=json_dense_layers(config, layers, 0))


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys. Windowed layers have the theta of the others, and no scaling."""
    read, decoder = MetadataReader(metadata, "mellum"), read_gguf_decoder_config(metadata, "mellum", "half_split")
    windows = read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: (layer + 1) % PERIOD != 0)
    local = RopeConfig("half_split", decoder.rope.rotary_dim, decoder.rope.theta)
    width = decoder.intermediate_size // read.same_for_all_layers("expert_used_count")
    return gguf_mixture(replace(decoder, windows=windows, local_rope=local), metadata, "mellum", Unsaid(width=width))


ARCHITECTURE = Architecture("mellum", read_config, read_gguf_config, QWEN3_MOE.gguf_tensor_name, QWEN3_MOE.build)
