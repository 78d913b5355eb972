"""gpt-oss (OpenAI, 2025): attention sinks, windows in every other layer, experts with biases and a clamped gate.

https://arxiv.org/abs/2508.10925
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.clamped_swiglu import ClampedSwiglu
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder

GGUF_NAMES = {
    **MIXTURE_NAMES,
    "mlp.router": "ffn_gate_inp",
    "post_attention_layernorm": "post_attention_norm",
    "self_attn.sinks": "attn_sinks.weight",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "rope_theta": 150000.0, "sliding_window": 128, "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "rope_scaling": {
        "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
        "original_max_position_embeddings": 4096,
    },
}  # fmt: skip
LIMIT, ALPHA, OFFSET = 7.0, 1.702, 1.0


@dataclass(frozen=True)
class GptOssConfig(MixtureConfig):
    """A mixture of experts. limit and alpha: of their gated activation, see ClampedSwiglu."""

    limit: float = LIMIT
    alpha: float = ALPHA


class GptOss(MixtureDecoder):
    """Sinks, and an activation of its own."""

    NAMES = (ExpertNames("mlp", "gate_proj", "up_proj", "down_proj", "router"),)
    SINKS = True
    config: GptOssConfig

    def __init__(self, config: GptOssConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def gated_experts(self, layer: int, gate: Value, up: Value) -> Value:
        """gate * sigmoid(alpha * gate) * (up + 1), both cut off."""
        gated = replace(gate, name=f"layers.{layer}.gated")
        self.ops.append(ClampedSwiglu(gate, up, gated, self.config.limit, self.config.alpha, OFFSET))
        return gated


def read_config(config: Mapping[str, Any]) -> GptOssConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read, decoder = MetadataReader(config, ""), read_decoder_config(config)
    windows = read_windows(config, decoder.num_hidden_layers, lambda layer: layer % 2 == 0)
    experts = {**config, "moe_intermediate_size": decoder.intermediate_size, "norm_topk_prob": True}
    mixture = json_mixture(replace(decoder, windows=windows), experts)
    return GptOssConfig(
        **vars(mixture), limit=read.number("swiglu_limit", LIMIT), alpha=read.number("swiglu_alpha", ALPHA)
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> GptOssConfig:
    """GGUF's keys, which do not say that YaRN's bounds are no whole dimensions; transformers' configuration does."""
    metadata = {"gpt-oss.feed_forward_length": metadata.get("gpt-oss.expert_feed_forward_length"), **metadata}
    read, decoder = MetadataReader(metadata, "gpt-oss"), read_gguf_decoder_config(metadata, "gpt-oss", "half_split")
    decoder = replace(
        decoder,
        windows=read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: layer % 2 == 0),
        rope=replace(decoder.rope, scaling=replace(decoder.rope.scaling, truncate=False)),
    )
    return GptOssConfig(**vars(gguf_mixture(decoder, metadata, "gpt-oss", Unsaid(normalized=True))))


def build(config: GptOssConfig) -> Graph:
    """The graph of one step."""
    return GptOss(config).model()


ARCHITECTURE = Architecture("gpt_oss", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
