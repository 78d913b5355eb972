"""Phi 3, 3.5 and 4 (Abdin et al., 2024): Llama with q, k and v, and gate and up, in one matrix each.

https://arxiv.org/abs/2404.14219
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture, WeightSource
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

GGUF_NAMES = {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}

DEFAULTS = {
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}


class Phi3(Decoder):
    """Products with parts of the joint matrices."""

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """The rows of the matrix are q's, k's and v's, one after the other."""
        config, name = self.config, f"layers.{layer}"
        width, kv_width = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        q, k, v = self.parts(
            f"model.layers.{layer}.self_attn.qkv_proj",
            x,
            {f"{name}.q": width, f"{name}.k": kv_width, f"{name}.v": kv_width},
        )
        return q, k, v

    def mlp(self, layer: int, x: Value) -> Value:
        """SwiGLU; the rows of the matrix are the gate's, then those of up."""
        hf, name, width = f"model.layers.{layer}.mlp", f"layers.{layer}", self.config.intermediate_size
        gate, up = self.parts(f"{hf}.gate_up_proj", x, {f"{name}.gate": width, f"{name}.up": width})
        return self.linear(f"{hf}.down_proj", self.gated(gate, up, name), self.config.hidden_size, f"{name}.mlp")

    def parts(self, hf: str, x: Value, widths: Mapping[str, int]) -> list[Value]:
        """Products with runs of a matrix's rows, by the names of the results."""
        values, first, total = [], 0, sum(widths.values())
        for name, width in widths.items():
            weight = self.weights.matrix(f"{hf}.weight", width, x.width, first_row=first, of_rows=total)
            values.append(self.product(hf, x, weight, name))
            first += width
        return values


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    decoder = read_decoder_config(config)
    return replace(decoder, windows=read_windows(config, decoder.num_hidden_layers, lambda _: True))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    decoder = read_gguf_decoder_config(metadata, "phi3", "half_split")
    windows = read_gguf_windows(MetadataReader(metadata, "phi3"), decoder.num_hidden_layers, lambda _: True)
    return replace(decoder, windows=windows)


def build(config: DecoderConfig, weights: WeightSource) -> Graph:
    """The graph of one step."""
    return Phi3(config, weights).model()


ARCHITECTURE = Architecture("phi3", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
