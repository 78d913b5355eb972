"""Muse Glimmer, the text model (Meta, 2026): gated attention, norms on both sides, weightless norms of heads.

Every fourth layer, counted from the last, sees all positions and has no rope.
https://huggingface.co/docs/transformers/model_doc/muse_glimmer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph, Value, Vector
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.models import Architecture
from lutmac.models.afmoe import GatedAttention
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_activation, read_decoder_config, read_windows
from lutmac.models.gemma2 import GGUF_NAMES as NORMED_TWICE_NAMES
from lutmac.models.gemma2 import NormedTwice
from lutmac.models.gguf_names import gguf_names
from lutmac.models.granite_swa import layer_thetas
from lutmac.models.metadata import MetadataReader
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES

GGUF_NAMES = {**NORMED_TWICE_NAMES, **NORMED_HEADS_NAMES, "self_attn.gate_proj": "attn_gate"}
PERIOD = 4
POST_NORM_EPS = 1e-8
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 202048, "hidden_size": 6656, "intermediate_size": 19968, "num_hidden_layers": 52,
    "num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
    "hidden_activation": "silu", "sliding_window": 2048, "final_logit_softcapping": 20.0,
}  # fmt: skip


@dataclass(frozen=True)
class MuseGlimmerConfig(DecoderConfig):
    """A decoder. post_norm_eps: of the norms behind attention and MLP."""

    post_norm_eps: float = POST_NORM_EPS


class MuseGlimmer(NormedTwice, GatedAttention):
    """Heads and embeddings are normed without weights; GGUF files have such of heads, which scale the queries."""

    config: MuseGlimmerConfig

    def __init__(self, config: MuseGlimmerConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def embedded(self, hidden: Value) -> Value:
        """The norm of the embeddings."""
        return self.weightless_norm(hidden, "hidden_normed", hidden.width)

    def norm(self, hf: str, x: Value, name: str, width: int | None = None) -> Value:
        """Of heads without a weight where there is none; the last norm's is stored as it multiplies."""
        if not hf.startswith("model.layers."):
            out = replace(x, name=name)
            self.ops.append(RMSNorm(x, Vector(f"{hf}.weight", x.width), self.config.rms_norm_eps, out))
            return out
        if width is None:
            return super().norm(hf, x, name)
        if self.has(f"{hf}.weight"):
            return super().norm(hf, x, name, width)
        return self.weightless_norm(x, name, width)

    def post_norm(self, hf: str, x: Value, name: str) -> Value:
        """With an epsilon of its own."""
        out, bias = replace(x, name=name), self.config.norm_weight_bias
        self.ops.append(RMSNorm(x, Vector(f"{hf}.weight", x.width), self.config.post_norm_eps, out, bias))
        return out


def read_config(config: Mapping[str, Any]) -> MuseGlimmerConfig:
    """The keys of a config.json. Raises UnsupportedModelError where layers have ropes that differ."""
    config = {**DEFAULTS, **config}
    read, decoder = MetadataReader(config, ""), read_decoder_config(config)
    last = decoder.num_hidden_layers - 1
    thetas = layer_thetas(config, last + 1)
    if set(thetas) - {0.0, decoder.rope.theta}:
        raise UnsupportedModelError(
            f"layers with different ropes (layer_rope_theta {sorted(set(thetas))}) are not supported"
        )
    plain = tuple(i for i in range(last + 1) if (not thetas[i] if thetas else (last - i) % PERIOD == 0))
    decoder = replace(
        decoder,
        windows=read_windows(config, last + 1, lambda layer: (last - layer) % PERIOD != 0),
        no_rope_layers=plain,
        attention_scale=read.number("qk_scale_factor", 3.87) * decoder.head_dim**-0.5,
        logits_scale=read.number("output_multiplier", 0.19611613513818404),
        logits_softcap=read.number("final_logit_softcapping", 0.0),
        activation=read_activation(config, "hidden_activation"),
        norm_weight_bias=1.0,
    )
    return MuseGlimmerConfig(**vars(decoder), post_norm_eps=read.number("post_norm_eps", POST_NORM_EPS))


def read_gguf_config(metadata: Mapping[str, Any]) -> MuseGlimmerConfig:
    """GGUF's keys; norms' weights are stored as they multiply, and queries are scaled by that of their heads."""
    read = MetadataReader(metadata, "muse-glimmer")
    decoder = read_gguf_decoder_config(metadata, "muse-glimmer", "interleaved")
    layers = decoder.num_hidden_layers
    windows = read_gguf_windows(read, layers, lambda layer: (layer + 1) % PERIOD != 0)
    decoder = replace(
        decoder,
        windows=windows,
        no_rope_layers=tuple(layer for layer in range(layers) if not (windows and windows[layer])),
        logits_scale=read.number("logit_scale"),
        logits_softcap=read.number("final_logit_softcapping", 0.0),
    )
    return MuseGlimmerConfig(**vars(decoder))


def build(config: MuseGlimmerConfig) -> Graph:
    """The graph of one step."""
    return MuseGlimmer(config).model()


ARCHITECTURE = Architecture("muse_glimmer", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
