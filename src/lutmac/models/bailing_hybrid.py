"""Ling 3 (inclusionAI, 2026): Kimi Delta Attention with bounded decays; in every sixth layer gated latent attention.

https://huggingface.co/inclusionAI/Ling-3.0-Flash
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.models import Architecture
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_rope
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_dense_layers, json_mixture
from lutmac.models.delta_attention import (
    GGUF_GATE,
    Delta,
    DeltaConfig,
    DeltaDecoder,
    read_gguf_attention_layers,
    read_gguf_delta,
    read_layer_types,
    usual_names,
)
from lutmac.models.delta_attention import GGUF_NAMES as DELTA_NAMES
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.latent_attention import (
    GGUF_NAMES,
    gguf_latent_keys,
    latent_keys,
    latent_scale,
    read_gguf_latents,
    read_latents,
)
from lutmac.models.metadata import MetadataReader

_GGUF: Final = "bailingmoe3"
DEFAULTS: Final[Mapping[str, Any]] = {
    "vocab_size": 157184, "hidden_size": 2560, "intermediate_size": 6144, "num_hidden_layers": 42,
    "num_attention_heads": 32, "max_position_embeddings": 262144, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "rope_theta": 6000000.0,
    "moe_intermediate_size": 768, "num_experts": 512, "num_experts_per_tok": 8, "n_shared_experts": 1, "n_group": 8,
    "topk_group": 4, "routed_scaling_factor": 2.5, "first_k_dense_replace": 2, "head_dim": 128,
    "short_conv_kernel_size": 4, "layer_group_size": 6, "kda_lower_bound": -5.0,
}  # fmt: skip


class BailingHybrid(DeltaDecoder):
    """Decays and gates by one product each; attention has a gate for each head."""

    FORGET = ("f_proj",)
    GATE = ("g_proj",)

    def gated_attention(self, layer: int, x: Value, attended: Value) -> Value:
        """What the heads' gates leave of it."""
        hf, name = f"model.layers.{layer}.self_attn", f"layers.{layer}.attended_gate"
        product = f"{hf}.{GGUF_GATE if self.has(f'{hf}.{GGUF_GATE}.weight') else 'g_proj'}"
        gate = self.linear(product, x, self.config.num_attention_heads, name)
        return self.gated_by("sigmoid", gate, attended, name)


def read_config(config: Mapping[str, Any]) -> DeltaConfig:
    """The keys of a config.json, as the hub has them or transformers writes them."""
    config = {**DEFAULTS, **usual_names(config)}
    read, latents = MetadataReader(config, ""), read_latents(config)
    decoder = read_decoder_config(latent_keys(config))
    layers, every = decoder.num_hidden_layers, read.integer("layer_group_size")
    rope = replace(read_rope({**config, "partial_rotary_factor": 1.0}, latents.rope_dim), style="interleaved")
    mixture = json_mixture(
        replace(decoder, rope=rope, attention_scale=latent_scale(latents, rope.scaling, 0.0)),
        config,
        scores="sigmoid",
        shared_width=read.integer("n_shared_experts", 0, low=0) * read.integer("moe_intermediate_size"),
        dense_layers=json_dense_layers(config, layers, read.integer("first_k_dense_replace", low=0)),
    )
    bound = 0.0 if config.get("kda_safe_gate") is False else _lower_bound(config["kda_lower_bound"])
    heads, kernel = decoder.num_attention_heads, read.integer("short_conv_kernel_size")
    return DeltaConfig(
        **{
            **vars(mixture),
            "latents": latents,
            "attention_layers": read_layer_types(config, layers, tuple(range(every - 1, layers, every))),
            "delta": Delta(heads, read.integer("head_dim"), kernel, bound),
        }
    )


def _lower_bound(value: object) -> float:
    """Of decays' logarithms. Raises UnsupportedModelError where it bounds nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e3 <= value < 0:
        raise UnsupportedModelError(f"the bound of decays (kda_lower_bound) is {value!r:.40}, expected one below 0")
    return float(value)


def read_gguf_config(metadata: Mapping[str, Any]) -> DeltaConfig:
    """GGUF's keys. Files of models that read images too pair halves of heads (llama.cpp's mrope), others neighbours."""
    read = MetadataReader(metadata, _GGUF)
    latents = read_gguf_latents(read)
    sections = np.asarray(metadata.get(f"{_GGUF}.rope.dimension_sections", ()))
    style: RopeStyle = "half_split" if sections.any() else "interleaved"
    decoder = read_gguf_decoder_config(gguf_latent_keys(metadata, _GGUF, latents), _GGUF, style)
    decoder = replace(decoder, attention_scale=latents.head_dim**-0.5)
    for key in ("swiglu_clamp_exp", "swiglu_clamp_shexp"):
        if np.asarray(metadata.get(f"{_GGUF}.{key}", ())).any():
            raise UnsupportedModelError(f"gates of experts that are cut off ({_GGUF}.{key}) are not supported")
    if metadata.get(f"{_GGUF}.kda.safe_gate", True) is False:
        raise UnsupportedModelError(f"decays without a bound ({_GGUF}.kda.safe_gate) are not supported")
    width = read.same_for_all_layers("expert_feed_forward_length")
    shared = read.integer("expert_shared_feed_forward_length", 0, low=0)
    shared = shared or max(1, read.integer("expert_shared_count", low=0)) * width
    mixture = gguf_mixture(decoder, metadata, _GGUF, Unsaid("sigmoid", normalized=False), shared_width=shared)
    attention_layers = read_gguf_attention_layers(read, decoder.num_hidden_layers)
    bound = _lower_bound(metadata.get(f"{_GGUF}.kda.gate_lower_bound"))
    delta = read_gguf_delta(read, decoder.num_attention_heads, bound)
    return DeltaConfig(**{**vars(mixture), "latents": latents, "attention_layers": attention_layers, "delta": delta})


def build(config: DeltaConfig) -> Graph:
    """The graph of one step."""
    return BailingHybrid(config).model()


_NAMES: Final = {
    **MIXTURE_NAMES,
    **GGUF_NAMES,
    **DELTA_NAMES,
    "self_attn.f_proj": "ssm_f_a",
    "self_attn.g_proj": "ssm_g_a",
    f"self_attn.{GGUF_GATE}": "attn_gate",
}
ARCHITECTURE = Architecture("bailing_hybrid", read_config, read_gguf_config, gguf_names(_NAMES), build)
