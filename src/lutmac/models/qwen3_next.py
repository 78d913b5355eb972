"""Qwen3-Next (2025) and the mixtures of Qwen3.5 and 3.6: gated DeltaNet and gated attention, and a shared expert.

https://huggingface.co/Qwen/Qwen3-Next-80B-A3B-Instruct
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import gguf_mixture, json_mixture
from lutmac.models.delta_net import (
    DEFAULTS,
    GGUF_NAMES,
    HybridConfig,
    HybridDecoder,
    read_attention_layers,
    read_delta_net,
    read_gguf_attention_layers,
    read_gguf_delta_net,
)
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder, SharedNames
from lutmac.models.qwen3 import NormedHeads

SIZES = {
    "hidden_size": 2048, "num_key_value_heads": 2, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
}  # fmt: skip
NEXT = {
    "vocab_size": 151936, "intermediate_size": 5632, "num_hidden_layers": 48, "num_experts": 512,
    "num_experts_per_tok": 10,
}  # fmt: skip
QWEN35 = {"vocab_size": 248320, "num_hidden_layers": 40, "num_experts": 256, "num_experts_per_tok": 8}


@dataclass(frozen=True)
class HybridMixtureConfig(HybridConfig, MixtureConfig):
    """Experts, and gated DeltaNet in the layers without attention."""


class Qwen3Next(MixtureDecoder, NormedHeads, HybridDecoder):
    """Experts, and norms of the attention's heads."""

    SHARED = SharedNames("mlp.shared_expert", "mlp.shared_expert_gate")
    config: HybridMixtureConfig

    def __init__(self, config: HybridMixtureConfig) -> None:
        """As a decoder."""
        super().__init__(config)


def has_joint_projections(config: HybridMixtureConfig) -> bool:
    """Whether queries, keys, values and gates of a DeltaNet are one matrix, as in directories of Qwen3-Next."""
    layers = (layer for layer in range(config.num_hidden_layers) if layer not in config.attention_layers)
    return any(f"model.layers.{layer}.linear_attn.in_proj_qkvz.weight" in config.optional for layer in layers)


def read_config(config: Mapping[str, Any]) -> HybridMixtureConfig:
    """The keys of a config.json; norms' weights are stored less 1, but for those behind the delta rule."""
    is_next = config.get("model_type") == "qwen3_next"
    config = {**DEFAULTS, **SIZES, **(NEXT if is_next else QWEN35), **config}
    read = MetadataReader(config, "")
    if not is_next:  # there is no dense MLP
        config["intermediate_size"] = read.integer("moe_intermediate_size")
    decoder = read_decoder_config(config)
    layers = decoder.num_hidden_layers
    dense, step = config.get("mlp_only_layers") or [], read.integer("decoder_sparse_step", 1)
    if not isinstance(dense, list):
        raise CheckpointError(f"mlp_only_layers is {dense!r:.60}, expected a list of layers")
    mixture = json_mixture(
        decoder,
        config,
        shared_width=read.integer("shared_expert_intermediate_size"),
        dense_layers=(layer for layer in range(layers) if layer in dense or (layer + 1) % step),
    )
    return HybridMixtureConfig(
        **{
            **vars(mixture),
            "norm_weight_bias": 1.0,
            "norm_topk_prob": mixture.norm_topk_prob or not is_next,
            "attention_layers": read_attention_layers(config, layers),
            "delta_net": read_delta_net(config),
        }
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> HybridMixtureConfig:
    """GGUF's keys, under "qwen3next" or "qwen35moe"; norms' weights are stored as they multiply."""
    architecture = str(metadata.get("general.architecture", "qwen35moe"))
    read = MetadataReader(metadata, architecture)
    width = read.same_for_all_layers("expert_feed_forward_length")
    metadata = {f"{architecture}.feed_forward_length": width, **metadata}
    decoder = read_gguf_decoder_config(metadata, architecture, "half_split")
    shared = read.integer("expert_shared_feed_forward_length", width)
    return HybridMixtureConfig(
        **vars(gguf_mixture(decoder, metadata, architecture, shared_width=shared)),
        attention_layers=read_gguf_attention_layers(read, decoder.num_hidden_layers),
        delta_net=read_gguf_delta_net(read, tiled=architecture != "qwen3next"),
    )


def build(config: HybridMixtureConfig) -> Graph:
    """The graph of one step."""
    return Qwen3Next(config).model()


ARCHITECTURE = Architecture(
    "qwen3_next", read_config, read_gguf_config, gguf_names({**GGUF_NAMES, **MIXTURE_NAMES}), build
)
