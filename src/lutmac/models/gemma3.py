"""Gemma 3, the text model (Gemma Team, 2025): Gemma 2 with normed heads, and windows in five of six layers.

Windowed layers have a rope of their own. https://arxiv.org/abs/2503.19786
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_activation, read_decoder_config, read_ropes_by_type, read_windows
from lutmac.models.gemma2 import GGUF_NAMES, SIZES_OF_2B, NormedTwice, gguf_query_scalar, with_gemma_scales
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads
from lutmac.models.rope import RopeConfig

LAYERS_OF_27B = 62
PERIOD = 6  # the last layer of each period sees all positions
LOCAL_THETA, GLOBAL_THETA = 10000.0, 1e6
DEFAULTS = {**SIZES_OF_2B, "vocab_size": 262208, "max_position_embeddings": 131072, "rope_theta": GLOBAL_THETA}


class Gemma3(NormedTwice, NormedHeads):
    """Norms on both sides of each part, and of heads. EmbeddingGemma (2025) is that in both directions.

    https://arxiv.org/abs/2509.20354
    """


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json; norms' weights are stored less 1."""
    config = {**DEFAULTS, **config}
    read = MetadataReader(config, "")
    period = read.integer("sliding_window_pattern", read.integer("_sliding_window_pattern", PERIOD))
    bidirectional = config.get("use_bidirectional_attention") is True
    read_here = ("rope_parameters", "rope_scaling", *(["use_bidirectional_attention"] if bidirectional else []))
    decoder = read_decoder_config({**config, **dict.fromkeys(read_here)})
    rope, local_rope = read_ropes_by_type(config, decoder.head_dim, LOCAL_THETA)
    return replace(
        with_gemma_scales(decoder, read.number("query_pre_attn_scalar", 256.0), read),
        rope=rope,
        local_rope=local_rope,
        windows=read_windows(config, decoder.num_hidden_layers, lambda layer: (layer + 1) % period != 0),
        activation=read_activation(config, "hidden_activation"),
        norm_weight_bias=1.0,
        bidirectional=bidirectional,
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys; norms' weights are stored as they multiply."""
    read = MetadataReader({"gemma3.rope.freq_base": GLOBAL_THETA, **metadata}, "gemma3")
    decoder = read_gguf_decoder_config(read.metadata, "gemma3", "half_split")
    local = RopeConfig("half_split", decoder.rope.rotary_dim, read.number("rope.freq_base_swa", LOCAL_THETA))
    return replace(
        with_gemma_scales(decoder, gguf_query_scalar(decoder, LAYERS_OF_27B), read),
        windows=read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: (layer + 1) % PERIOD != 0),
        local_rope=local,
        activation="gelu_tanh",
    )


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Gemma3(config).model()


ARCHITECTURE = Architecture(
    "gemma3", read_config, read_gguf_config, gguf_names({**GGUF_NAMES, **NORMED_HEADS_NAMES}), build
)
