"""Granite's mixtures of experts (IBM, 2024), some with an MLP beside the experts.

https://huggingface.co/docs/transformers/model_doc/granitemoe
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import gguf_mixture, json_mixture
from lutmac.models.gguf_names import gguf_names
from lutmac.models.granite import gguf_multipliers, json_multipliers, with_multipliers
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder, SharedNames

GGUF_NAMES = {
    "block_sparse_moe.router": "ffn_gate_inp",
    "block_sparse_moe.router.layer": "ffn_gate_inp",
    "block_sparse_moe.experts.gate_proj": "ffn_gate_exps",
    "block_sparse_moe.experts.up_proj": "ffn_up_exps",
    "block_sparse_moe.experts.down_proj": "ffn_down_exps",
    "shared_mlp.gate_proj": "ffn_gate_shexp",
    "shared_mlp.up_proj": "ffn_up_shexp",
    "shared_mlp.output_linear": "ffn_down_shexp",
}


class GraniteMoe(MixtureDecoder):
    """By the names of IBM's files, or of what transformers 5 has in memory."""

    NAMES = (
        ExpertNames("block_sparse_moe", "gate_proj", "up_proj", "down_proj", "router.layer"),
        ExpertNames("block_sparse_moe", "gate_proj", "up_proj", "down_proj", "router"),
    )
    SHARED = SharedNames("shared_mlp", None, "input_linear", "output_linear")


def json_experts(decoder: DecoderConfig, config: Mapping[str, Any]) -> MixtureConfig:
    """The experts of a config.json: as wide as its MLPs, and weighed by a softmax over those chosen."""
    defaults = {"num_local_experts": 8, "num_experts_per_tok": 2}
    experts = {**defaults, **config, "moe_intermediate_size": decoder.intermediate_size, "norm_topk_prob": True}
    return json_mixture(
        decoder, experts, shared_width=MetadataReader(config, "").integer("shared_intermediate_size", 0, low=0)
    )


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return json_experts(with_multipliers(read_decoder_config(config), *json_multipliers(config)), config)


def gguf_experts(decoder: DecoderConfig, metadata: Mapping[str, Any], architecture: str) -> MixtureConfig:
    """The experts of a GGUF file."""
    read = MetadataReader(metadata, architecture)
    shared = read.integer("expert_shared_feed_forward_length", 0, low=0)
    return gguf_mixture(decoder, metadata, architecture, shared_width=shared)


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    decoder = read_gguf_decoder_config(metadata, "granitemoe", "interleaved")
    multipliers = gguf_multipliers(MetadataReader(metadata, "granitemoe"), decoder.head_dim)
    return gguf_experts(with_multipliers(decoder, *multipliers), metadata, "granitemoe")


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return GraniteMoe(config).model()


ARCHITECTURE = Architecture("granitemoe", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
