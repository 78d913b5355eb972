"""LFM3 (Liquid AI, 2026): LFM2 with windows in some layers, gated heads, and norms behind each part.

https://huggingface.co/docs/transformers/model_doc/lfm3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config_json import read_decoder_config, read_ropes_by_type
from lutmac.models.gguf_names import gguf_names
from lutmac.models.lfm2 import Lfm2, Lfm2Config
from lutmac.models.metadata import MetadataReader

LOCAL_THETA = 10000.0
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 128000, "hidden_size": 2048, "intermediate_size": 7680, "num_hidden_layers": 24,
    "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128, "max_position_embeddings": 128000,
    "sliding_window": 256,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": LOCAL_THETA},
        "full_attention": {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.5},
    },
}  # fmt: skip
GATES = ("gate_proj", "g_proj")  # in files, and in transformers
TYPES = ("conv", "full_attention", "sliding_attention")


class Lfm3(Lfm2):
    """Norms behind each part, and gates of heads, where the checkpoint has them."""

    HEAD_NORMS = ("q_norm", "k_norm")
    ATTENTION_OUTPUT = "o_proj"

    def post_norm(self, hf: str, x: Value, name: str) -> Value:
        """The norm of what a part adds to the residual stream."""
        return self.norm(hf, x, name) if self.has(f"{hf}.weight") else x

    def gated_attention(self, layer: int, x: Value, attended: Value) -> Value:
        """Each head times the sigmoid of its gate."""
        name = f"layers.{layer}.attention_gate"
        for hf in (f"model.layers.{layer}.self_attn.{gate}" for gate in GATES):
            if self.has(f"{hf}.weight"):
                return self.gated_by("sigmoid", self.linear(hf, x, self.config.heads(layer), name), attended, name)
        return attended


def read_config(config: Mapping[str, Any]) -> Lfm2Config:
    """The keys of a config.json. Raises UnsupportedModelError for layers of other types."""
    config = {**DEFAULTS, **config}
    config["rope_parameters"] = config["rope_parameters"] or DEFAULTS["rope_parameters"]
    read = MetadataReader(config, "")
    values = {**config, "rms_norm_eps": read.number("norm_eps", 1e-5), "rope_parameters": None, "rope_scaling": None}
    decoder = read_decoder_config(values)
    types = _layer_types(config, decoder.num_hidden_layers)
    window = read.integer("sliding_window", 0, low=0)
    rope, local_rope = read_ropes_by_type(config, decoder.head_dim, LOCAL_THETA)
    windows = tuple(window if kind == "sliding_attention" else 0 for kind in types)
    decoder = replace(decoder, rope=rope, local_rope=local_rope, windows=windows if any(windows) else ())
    return Lfm2Config(
        **vars(decoder),
        attention_layers=tuple(layer for layer, kind in enumerate(types) if kind != "conv"),
        kernel=read.integer("conv_L_cache", 7),
    )


def _layer_types(config: Mapping[str, Any], layers: int) -> list[str]:
    """``layer_types``, or else attention in every other layer from the third on, every other one of these windowed."""
    types = config.get("layer_types")
    if types is None:
        attention = {2: "full_attention", 0: "sliding_attention"}
        return [attention.get(layer % 4, "conv") if layer else "conv" for layer in range(layers)]
    if not isinstance(types, list) or len(types) != layers:
        raise CheckpointError(f"layer_types is not a list of {layers} types")
    unknown = sorted(set(map(str, types)) - set(TYPES))
    if unknown:
        raise UnsupportedModelError(f"layers of type {unknown[0]!r} are not supported")
    return types


def read_gguf_config(metadata: Mapping[str, Any]) -> Lfm2Config:
    """Raises UnsupportedModelError: nobody has defined what a GGUF file says of it."""
    raise UnsupportedModelError("LFM3 is read from Hugging Face directories alone: GGUF has no such architecture")


def build(config: Lfm2Config) -> Graph:
    """The graph of one step."""
    return Lfm3(config).model()


ARCHITECTURE = Architecture("lfm3", read_config, read_gguf_config, gguf_names(), build)
