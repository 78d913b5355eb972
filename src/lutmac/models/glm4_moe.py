"""GLM-4.5, 4.6 and 4.7 (GLM-4.5 Team, 2025): a mixture of experts with sigmoid scores and a shared MLP.

https://arxiv.org/abs/2508.06471
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_dense_layers, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads

GGUF_NAMES = {**MIXTURE_NAMES, **NORMED_HEADS_NAMES, "post_attention_layernorm": "post_attention_norm"}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 151552, "intermediate_size": 10944, "num_hidden_layers": 46, "num_attention_heads": 96,
    "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "partial_rotary_factor": 0.5,
    "moe_intermediate_size": 1408, "num_experts_per_tok": 8, "n_shared_experts": 1, "n_routed_experts": 128,
    "first_k_dense_replace": 1,
}  # fmt: skip


class Glm4Moe(MixtureDecoder, NormedHeads):
    """Experts that a bias helps to select; some of the models have norms of heads."""

    SELECTION_BIASES = ("mlp.gate.e_score_correction_bias",)
    OF_SOME = True


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read, decoder = MetadataReader(config, ""), read_decoder_config(config)
    first = read.integer("first_k_dense_replace", low=0)
    return json_mixture(
        decoder,
        config,
        scores="sigmoid",
        shared_width=read.integer("n_shared_experts", low=0) * read.integer("moe_intermediate_size"),
        dense_layers=json_dense_layers(config, decoder.num_hidden_layers, first),
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys."""
    read, decoder = MetadataReader(metadata, "glm4moe"), read_gguf_decoder_config(metadata, "glm4moe", "half_split")
    width = read.same_for_all_layers("expert_feed_forward_length")
    shared = read.integer("expert_shared_count", low=0) * width
    return gguf_mixture(decoder, metadata, "glm4moe", Unsaid("sigmoid", normalized=False), shared_width=shared)


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return Glm4Moe(config).model()


ARCHITECTURE = Architecture("glm4_moe", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
