"""Gemma 4, the text model (Gemma Team, 2026): Gemma 3 with heads that differ by layer, embeddings of layers, experts.

Full layers have larger heads, of which a part is rotated, and may keep keys as values; the last layers may read the
keys and values of earlier ones. https://huggingface.co/docs/transformers/model_doc/gemma4
"""

from __future__ import annotations

from dataclasses import replace

from lutmac.graph.ir import Graph, Value, Vector
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.scale import Scale
from lutmac.models import Architecture
from lutmac.models.decoder import Decoder
from lutmac.models.gemma2 import GGUF_NAMES as NORMED_TWICE_NAMES
from lutmac.models.gemma2 import NormedTwice
from lutmac.models.gemma4_config import Gemma4Config, read_config, read_gguf_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.mixture import ExpertNames, MixtureDecoder
from lutmac.models.per_layer_embeddings import GGUF_NAMES as PER_LAYER_NAMES
from lutmac.models.per_layer_embeddings import PerLayerEmbeddings
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.shared_keys import SharedKeys

GGUF_NAMES = {
    **NORMED_TWICE_NAMES,
    **NORMED_HEADS_NAMES,
    **PER_LAYER_NAMES,
    "layer_scalar": "layer_output_scale.weight",
    "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "post_feedforward_layernorm_2": "post_ffw_norm_2",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
    "router.proj": "ffn_gate_inp",
    "router.scale": "ffn_gate_inp.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps",
    "experts.gate_proj": "ffn_gate_exps",
    "experts.up_proj": "ffn_up_exps",
    "experts.down_proj": "ffn_down_exps",  # times router.per_expert_scale, beside it
}


class Gemma4(MixtureDecoder, NormedTwice, SharedKeys, PerLayerEmbeddings):
    """What a block adds to the residual stream, all of it times a number of the layer's."""

    NAMES = (ExpertNames("", "gate_proj", "up_proj", "down_proj", "router.proj"),)
    EXPERT_SCALES = "router.per_expert_scale"
    config: Gemma4Config

    def __init__(self, config: Gemma4Config) -> None:
        """As a decoder."""
        super().__init__(config)

    def embedded(self, hidden: Value) -> Value:
        """The embeddings, of which those of layers are made."""
        if self.config.per_layer_width:
            self.write_per_layer_inputs(hidden, self.config.per_layer_width, self.config.per_layer_vocab)
        return hidden

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention, MLP and the layer's own embeddings, each added to the residual stream."""
        name, scalar = f"layers.{layer}", f"model.layers.{layer}.layer_scalar"
        hidden = super().decoder_layer(layer, hidden)
        if self.config.per_layer_width:
            hidden = self.add(hidden, self.per_layer_change(layer, hidden), f"{name}.hidden_after_per_layer")
        if not self.has(scalar):
            return hidden
        scaled = replace(hidden, name=f"{name}.hidden_scaled")
        self.ops.append(Scale(hidden, scaled, trained=Vector(scalar, 1)))
        return scaled

    def values(self, layer: int, x: Value, keys: Value) -> Value:
        """The keys as they are before their norm, where a full layer has no product for values."""
        if self.config.keys_are_values and not self.config.window(layer):
            return keys
        return super().values(layer, x, keys)

    def feed_forward(self, layer: int, x: Value, hidden: Value) -> Value:
        """The MLP, and beside it experts that have norms of their own."""
        dense = Decoder.mlp(self, layer, x)
        if not self.config.num_experts:
            return dense
        hf, name = f"model.layers.{layer}", f"layers.{layer}"
        dense = self.norm(f"{hf}.post_feedforward_layernorm_1", dense, f"{name}.mlp_normed_1")
        choices, starts = self.route(layer, self.router_input(layer, hidden))
        x = self.norm(f"{hf}.pre_feedforward_layernorm_2", hidden, f"{name}.experts_input")
        routed = self.routed(layer, x, choices, starts)
        routed = self.norm(f"{hf}.post_feedforward_layernorm_2", routed, f"{name}.experts_normed")
        both = replace(dense, name=f"{name}.mlp_and_experts")
        self.ops.append(Add(dense, routed, both))
        return both

    def router_input(self, layer: int, hidden: Value) -> Value:
        """The norm of the residual stream, over sqrt(hidden_size)."""
        normed, out = (replace(hidden, name=f"layers.{layer}.router_{name}") for name in ("normed", "input"))
        weight = Vector(f"model.layers.{layer}.router.scale", hidden.width)
        self.ops.append(RMSNorm(hidden, weight, self.config.rms_norm_eps, normed))
        self.ops.append(Scale(normed, out, hidden.width**-0.5))
        return out


def build(config: Gemma4Config) -> Graph:
    """The graph of one step."""
    return Gemma4(config).model()


ARCHITECTURE = Architecture("gemma4", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
