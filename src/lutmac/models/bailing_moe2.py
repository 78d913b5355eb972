"""Ling and Ring 2 (inclusionAI, 2025), from GGUF files: normed heads, experts in groups with sigmoid scores.

https://arxiv.org/abs/2510.22115
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_mixture import Unsaid, gguf_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads

_GGUF = "bailingmoe2"


class BailingMoe2(MixtureDecoder, NormedHeads):
    """Experts that a bias helps to select."""

    SELECTION_BIASES = ("mlp.gate.e_score_correction_bias",)


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """Raises UnsupportedModelError: transformers has no such model to go by."""
    raise UnsupportedModelError("Ling 2 is read from GGUF files alone, by the name bailingmoe2")


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys."""
    read, decoder = MetadataReader(metadata, _GGUF), read_gguf_decoder_config(metadata, _GGUF, "half_split")
    width = read.same_for_all_layers("expert_feed_forward_length")
    width = read.integer("expert_shared_feed_forward_length", 0, low=0) or width
    shared = read.integer("expert_shared_count", low=0) * width
    return gguf_mixture(decoder, metadata, _GGUF, Unsaid("sigmoid", normalized=False), shared_width=shared)


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return BailingMoe2(config).model()


ARCHITECTURE = Architecture(
    "bailing_moe2", read_config, read_gguf_config, gguf_names({**MIXTURE_NAMES, **NORMED_HEADS_NAMES}), build
)
