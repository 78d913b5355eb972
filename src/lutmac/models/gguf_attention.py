"""Attention as GGUF files have it where directories say the same in another way.

Muse Glimmer's scale of scores is a weight of its heads' norms, which directories have without weights. Granite says
which layers have a rope, and directories of it each layer's theta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lutmac.errors import UnsupportedModelError
from lutmac.models.bitnet import BitNetConfig
from lutmac.models.config import DecoderConfig
from lutmac.models.muse_glimmer import MuseGlimmerConfig


def attention_form(config: DecoderConfig) -> DecoderConfig:
    """A configuration as GGUF has the same model.

    Raises UnsupportedModelError where layers have ropes that differ.
    """
    if config.layer_thetas:
        others = set(config.layer_thetas) - {0.0, config.rope.theta}
        if others:
            raise UnsupportedModelError(f"GGUF cannot say that a layer's rope has a theta of {others.pop():g}")
        plain = tuple(layer for layer, theta in enumerate(config.layer_thetas) if not theta)
        return replace(config, layer_thetas=(), no_rope_layers=plain)
    if isinstance(config, MuseGlimmerConfig):
        return replace(config, attention_scale=None)
    if isinstance(config, BitNetConfig):  # 1bitLLM's norms have other names, which GGUF's do not tell
        return replace(config, attention_norm=BitNetConfig.attention_norm, mlp_norm=BitNetConfig.mlp_norm)
    return config


def norms_of_heads(config: DecoderConfig) -> Mapping[str, tuple[float, ...]]:
    """The weights of norms that directories lack, by the names that they would have there."""
    if not isinstance(config, MuseGlimmerConfig):
        return {}
    size = config.head_dim
    scales = {"q_norm": (config.attention_scale or size**-0.5) * size**0.5, "k_norm": 1.0}
    return {
        f"model.layers.{layer}.self_attn.{norm}.weight": (scale,) * size
        for layer in range(config.num_hidden_layers)
        for norm, scale in scales.items()
    }
