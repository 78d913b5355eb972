"""OLMo 2 (OLMo Team, 2024): norms after attention and MLP instead of before, and of q and k over their whole width.

https://arxiv.org/abs/2501.00656
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture, WeightSource
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names

GGUF_NAMES = {
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


class Olmo2(Decoder):
    """Post-norms, and norms of queries and keys."""

    def block(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP on the residual stream as it is; what they make is normed and added."""
        hf, name = f"model.layers.{layer}", f"layers.{layer}"
        x = self.attention(layer, hidden)
        x = self.norm(f"{hf}.post_attention_layernorm", x, f"{name}.attention_normed")
        hidden = self.add(hidden, x, f"{name}.hidden_after_attention")
        x = self.norm(f"{hf}.post_feedforward_layernorm", self.mlp(layer, hidden), f"{name}.mlp_normed")
        return self.add(hidden, x, f"{name}.hidden")

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Normed queries and keys, all heads together."""
        q, k, v = super().queries_keys_values(layer, x)
        hf, name = f"model.layers.{layer}.self_attn", f"layers.{layer}"
        return self.norm(f"{hf}.q_norm", q, f"{name}.q_normed"), self.norm(f"{hf}.k_norm", k, f"{name}.k_normed"), v


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return read_decoder_config({"rms_norm_eps": 1e-5, **config})


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    return read_gguf_decoder_config(metadata, "olmo2", "half_split")


def build(config: DecoderConfig, weights: WeightSource) -> Graph:
    """The graph of one step."""
    return Olmo2(config, weights).model()


ARCHITECTURE = Architecture("olmo2", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
