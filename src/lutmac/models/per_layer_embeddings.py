"""Embeddings of each layer's own, beside those that all layers share (Gemma 3n, Gemma 4).

https://ai.google.dev/gemma/docs/gemma-3n
"""

from __future__ import annotations

from dataclasses import replace

from lutmac.graph.ir import Value, Vector, Weight
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.slice import Slice
from lutmac.models.decoder import Decoder

GGUF_NAMES = {
    "model.embed_tokens_per_layer": "per_layer_token_embd",
    "model.per_layer_model_projection": "per_layer_model_proj",
    "model.per_layer_projection_norm": "per_layer_proj_norm",
    "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm",
}


class PerLayerEmbeddings(Decoder):
    """Each layer gets some floats of its own: what its table has for the token, plus a product with the embedding."""

    per_layer: Value

    def write_per_layer_inputs(self, embedded: Value, width: int, vocab_size: int) -> None:
        """Those of all layers, ``width`` for each. embedded: what all layers share; vocab_size: rows of the table."""
        config = self.config
        total = width * config.num_hidden_layers
        looked_up, normed, both = (Value(f"per_layer.{name}", total) for name in ("looked_up", "normed", "inputs"))
        # The sum of the two is over sqrt(2). The product is over sqrt(hidden_size), to which a norm is blind but for
        # its epsilon.
        table = Weight("model.embed_tokens_per_layer.weight", vocab_size, total, streamed=True)
        self.ops.append(Embed(table, looked_up, width**0.5 * 2**-0.5))
        projected = self.linear("model.per_layer_model_projection", embedded, total, "per_layer.projected")
        weight = Vector("model.per_layer_projection_norm.weight", width)
        eps = config.rms_norm_eps * config.hidden_size
        self.ops += [RMSNorm(projected, weight, eps, normed), Add(looked_up, normed, both, 2**-0.5)]
        self.per_layer = both

    def per_layer_change(self, layer: int, hidden: Value) -> Value:
        """What a layer's own floats change of a value: gated by it, and behind a norm."""
        hf, name = f"model.layers.{layer}", f"layers.{layer}.per_layer"
        width = self.per_layer.width // self.config.num_hidden_layers
        own = replace(self.per_layer, name=f"{name}_input", width=width)
        self.ops.append(Slice(self.per_layer, layer * width, own))
        gate = self.linear(f"{hf}.per_layer_input_gate", hidden, width, f"{name}_gate")
        gated = self.gated(gate, own, name)
        change = self.linear(f"{hf}.per_layer_projection", gated, hidden.width, f"{name}_projected")
        return self.norm(f"{hf}.post_per_layer_input_norm", change, f"{name}_change")
