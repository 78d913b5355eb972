"""Phi 1.5 and 2 (Li et al., 2023): parallel layers with LayerNorms, biases everywhere, a part of each head rotated.

https://arxiv.org/abs/2309.05463
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.stablelm import LayerNormDecoder, with_layer_norm_eps

GGUF_NAMES = {
    "model.final_layernorm": "output_norm",
    "self_attn.dense": "attn_output",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 51200, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
    "hidden_act": "gelu_new", "partial_rotary_factor": 0.5,
}  # fmt: skip


class Phi(LayerNormDecoder):
    """Parallel layers, an MLP without a gate, and LayerNorms of heads in some checkpoints."""

    FINAL_NORM = "model.final_layernorm"
    ATTENTION_OUTPUT = "dense"

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP on the same norm."""
        return self.parallel_decoder_layer(layer, hidden)

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Queries and keys, normed where the model does that."""
        q, k, v = super().queries_keys_values(layer, x)
        hf, name = f"model.layers.{layer}.self_attn", f"layers.{layer}"
        if not self.has(f"{hf}.q_layernorm.weight"):
            return q, k, v
        q = self.norm(f"{hf}.q_layernorm", q, f"{name}.q_normed", self.config.head_dim)
        return q, self.norm(f"{hf}.k_layernorm", k, f"{name}.k_normed", self.config.head_dim), v

    def mlp(self, layer: int, x: Value) -> Value:
        """Without a gate."""
        return self.plain_mlp(layer, x, "mlp.fc1", "mlp.fc2")


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    eps = MetadataReader(config, "").number("layer_norm_eps", 1e-5)
    return read_decoder_config({**DEFAULTS, **config, "rms_norm_eps": eps})


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    decoder = read_gguf_decoder_config(with_layer_norm_eps(metadata, "phi2"), "phi2", "half_split")
    return replace(decoder, activation="gelu_tanh")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Phi(config).model()


ARCHITECTURE = Architecture("phi", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
