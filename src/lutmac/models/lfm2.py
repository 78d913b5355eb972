"""LFM2 and LFM2.5 (Liquid AI, 2025): gated short convolutions in most layers, attention in the others.

https://arxiv.org/abs/2511.23404
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph, Value, Vector
from lutmac.graph.operations.short_conv import ShortConv
from lutmac.graph.states import Slot
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.qwen3 import NormedHeads

GGUF_NAMES = {
    "model.embedding_norm": "token_embd_norm",
    "operator_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "conv.in_proj": "shortconv.in_proj",
    "conv.conv": "shortconv.conv",
    "conv.out_proj": "shortconv.out_proj",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 65536, "hidden_size": 2560, "intermediate_size": 12288, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 128000, "rope_theta": 1e6,
}  # fmt: skip


@dataclass(frozen=True)
class Lfm2Config(DecoderConfig):
    """A decoder. attention_layers: those with attention; the others have a convolution over ``kernel`` positions."""

    attention_layers: tuple[int, ...] = ()
    kernel: int = 3

    def __post_init__(self) -> None:
        """Raises as a decoder's, and UnsupportedModelError for a kernel that no loop has."""
        super().__post_init__()
        if not 2 <= self.kernel <= 16:
            raise UnsupportedModelError(f"convolutions over {self.kernel} positions are not supported, 2 to 16 are")


class Lfm2(NormedHeads):
    """Layers of a convolution or attention, and an MLP."""

    FINAL_NORM = "model.embedding_norm"
    HEAD_NORMS = ("q_layernorm", "k_layernorm")
    ATTENTION_OUTPUT = "out_proj"
    MLP = ("feed_forward.w1", "feed_forward.w3", "feed_forward.w2")
    config: Lfm2Config

    def __init__(self, config: Lfm2Config) -> None:
        """As a decoder."""
        super().__init__(config)

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Each part on the norm of the residual stream and added to it."""
        hf, name = f"model.layers.{layer}", f"layers.{layer}"
        x = self.norm(f"{hf}.operator_norm", hidden, f"{name}.operator_input")
        mixed = self.attention(layer, x) if layer in self.config.attention_layers else self.convolution(layer, x)
        mixed = self.post_norm(f"{hf}.post_operator_norm", mixed, f"{name}.operator_normed")
        hidden = self.add(hidden, mixed, f"{name}.hidden_after_operator")
        x = self.norm(f"{hf}.ffn_norm", hidden, f"{name}.mlp_input")
        x = self.post_norm(f"{hf}.post_ffn_norm", self.mlp(layer, x), f"{name}.mlp_normed")
        return self.add(hidden, x, f"{name}.hidden")

    def post_norm(self, hf: str, x: Value, name: str) -> Value:
        """What a part adds to the residual stream, as it is."""
        return x

    def convolution(self, layer: int, x: Value) -> Value:
        """Two gates around a short convolution, between two products."""
        config, hf, name = self.config, f"model.layers.{layer}.conv", f"layers.{layer}"
        width, kernel = config.hidden_size, config.kernel
        parts = self.linear(f"{hf}.in_proj", x, 3 * width, f"{name}.conv_parts")
        weight = Vector(f"{hf}.conv.weight", width * kernel, (width, kernel))
        state = Slot(f"{name}.conv", ShortConv.slot_bytes(width, kernel))
        out = Value(f"{name}.convolved", width)
        self.ops.append(ShortConv(state, parts, weight, out, kernel, self.bias(f"{hf}.conv", width)))
        return self.linear(f"{hf}.out_proj", out, width, f"{name}.operator")


def read_config(config: Mapping[str, Any]) -> Lfm2Config:
    """The keys of a config.json, of transformers or of the hub's repositories."""
    read = MetadataReader({**DEFAULTS, **config}, "")
    layers = read.integer("num_hidden_layers")
    width = read.integer("block_ff_dim", read.integer("intermediate_size"))
    if config.get("block_auto_adjust_ff_dim", True):
        width = 2 * width // 3
        if config.get("block_ffn_dim_multiplier", 1.0) is not None:
            multiple = read.integer("block_multiple_of", 256)
            width = -(-int(read.number("block_ffn_dim_multiplier", 1.0) * width) // multiple) * multiple
    values = {**DEFAULTS, **config, "intermediate_size": width, "rms_norm_eps": read.number("norm_eps", 1e-5)}
    decoder = read_decoder_config(values)
    return Lfm2Config(
        **vars(decoder), attention_layers=attention_layers(config, layers), kernel=read.integer("conv_L_cache", 3)
    )


def attention_layers(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """The layers with attention: ``layer_types`` or ``full_attn_idxs`` of a config.json say which, or else all are."""
    types, indices = config.get("layer_types"), config.get("full_attn_idxs")
    if types is not None:
        if not isinstance(types, list) or len(types) != layers:
            raise CheckpointError(f"layer_types is not a list of {layers} types")
        unknown = sorted(set(map(str, types)) - {"conv", "full_attention"})
        if unknown:
            raise UnsupportedModelError(f"layers of type {unknown[0]!r} are not supported")
        return tuple(layer for layer, kind in enumerate(types) if kind != "conv")
    if indices is None:
        return tuple(range(layers))
    if not isinstance(indices, list) or not all(type(index) is int for index in indices):
        raise CheckpointError(f"full_attn_idxs is {indices!r:.60}, expected a list of layers")
    return tuple(indices)


def read_gguf_config(metadata: Mapping[str, Any]) -> Lfm2Config:
    """GGUF's keys."""
    decoder, convolutions = gguf_convolutions(metadata, "lfm2")
    return Lfm2Config(**vars(decoder), **convolutions)


def gguf_convolutions(metadata: Mapping[str, Any], name: str) -> tuple[DecoderConfig, dict[str, Any]]:
    """GGUF's keys under this name, and what Lfm2Config adds; attention.head_count_kv is 0 where there is none."""
    read = MetadataReader(metadata, name)
    heads = read.for_layers(
        "attention.head_count_kv", read.integer("block_count"), read.integer("attention.head_count")
    )
    same = {f"{name}.attention.head_count_kv": max(heads)}
    decoder = read_gguf_decoder_config({**metadata, **same}, name, "half_split")
    attention = tuple(layer for layer in range(decoder.num_hidden_layers) if heads[layer])
    return decoder, {"attention_layers": attention, "kernel": read.integer("shortconv.l_cache")}


def build(config: Lfm2Config) -> Graph:
    """The graph of one step."""
    return Lfm2(config).model()


ARCHITECTURE = Architecture("lfm2", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
