"""Gemma 3n, the text model (Gemma Team, 2025): Gemma 3 within AltUp, with LAuReL and sparse gates.

LAuReL is a residual connection with a product of low rank (Menghani et al., 2024, https://arxiv.org/abs/2411.07501).
https://huggingface.co/docs/transformers/model_doc/gemma3n
"""

from __future__ import annotations

from dataclasses import replace

from lutmac.graph.ir import Graph, Value, Vector
from lutmac.graph.operations.gaussian_top_k import GaussianTopK
from lutmac.graph.operations.scale import Scale
from lutmac.models import Architecture
from lutmac.models.altup import AltUp
from lutmac.models.gemma2 import GGUF_NAMES as NORMED_TWICE_NAMES
from lutmac.models.gemma3n_config import Gemma3nConfig, read_config, read_gguf_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.per_layer_embeddings import GGUF_NAMES as PER_LAYER_NAMES
from lutmac.models.per_layer_embeddings import PerLayerEmbeddings
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.shared_keys import SharedKeys

MOST_STREAMS = 16
GGUF_NAMES = {
    **NORMED_TWICE_NAMES,
    **NORMED_HEADS_NAMES,
    **PER_LAYER_NAMES,
    **{f"model.altup_projections.{i}.weight": f"altup_proj.weight[{i}]" for i in range(MOST_STREAMS - 1)},
    **{
        f"model.altup_unembed_projections.{i}.weight": f"altup_unembd_proj.weight[{i}]" for i in range(MOST_STREAMS - 1)
    },
    "altup.correction_coefs": "altup_correct_coef",
    "altup.prediction_coefs": "altup_predict_coef",
    "altup.modality_router": "altup_router",
    "altup.router_norm": "altup_router_norm",
    "altup.correct_output_scale": "altup_correct_scale.weight",
    "laurel.linear_left": "laurel_l",
    "laurel.linear_right": "laurel_r",
    "laurel.post_laurel_norm": "laurel_post_norm",
}


class Gemma3n(SharedKeys, PerLayerEmbeddings, AltUp):
    """Layers that compute one of several streams."""

    config: Gemma3nConfig

    def __init__(self, config: Gemma3nConfig) -> None:
        """As a decoder."""
        super().__init__(config)
        self.streams, self.active = config.altup_streams, config.altup_active

    def embedded(self, hidden: Value) -> Value:
        """The streams; of the embeddings those of layers are made, too."""
        self.write_per_layer_inputs(hidden, self.config.per_layer_width, self.config.per_layer_vocab)
        return self.spread(hidden)

    def last_hidden(self, outputs: Value) -> Value:
        """One stream."""
        return self.gathered(outputs)

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention beside LAuReL, then the MLP, on the active stream; then all streams are brought up to date."""
        name, predicted = f"layers.{layer}", self.predicted(layer, hidden)
        active = self.stream(predicted, self.active, f"{name}.hidden")
        after_attention = self.mixed(layer, active)
        hf = f"model.{name}"
        x = self.norm(f"{hf}.pre_feedforward_layernorm", after_attention, f"{name}.mlp_input")
        x = self.norm(f"{hf}.post_feedforward_layernorm", self.mlp(layer, x), f"{name}.mlp_normed")
        computed = self.add(after_attention, x, f"{name}.computed")
        streams = self.corrected(layer, predicted, computed)
        own = self.stream(streams, self.active, f"{name}.corrected")
        scale = Vector(f"{hf}.altup.correct_output_scale", own.width)
        if self.config.altup_correct_scale:
            scaled = replace(own, name=f"{name}.corrected_scaled")
            self.ops.append(Scale(own, scaled, trained=scale))
            own = scaled
        return self.added_to_others(streams, self.per_layer_change(layer, own), f"{name}.streams")

    def mixed(self, layer: int, active: Value) -> Value:
        """The sum of the stream, its attention, and LAuReL, over sqrt(2)."""
        hf, name, config = f"model.layers.{layer}", f"layers.{layer}", self.config
        x = self.norm(f"{hf}.input_layernorm", active, f"{name}.attention_input")
        low = self.linear(f"{hf}.laurel.linear_left", x, config.laurel_rank, f"{name}.laurel_low")
        laurel = self.linear(f"{hf}.laurel.linear_right", low, x.width, f"{name}.laurel_high")
        laurel = self.norm(f"{hf}.laurel.post_laurel_norm", laurel, f"{name}.laurel_normed")
        laurel = self.add(x, laurel, f"{name}.laurel")
        attended = self.norm(f"{hf}.post_attention_layernorm", self.attention(layer, x), f"{name}.attention_normed")
        both = self.add(self.add(active, attended, f"{name}.attended_stream"), laurel, f"{name}.attended_and_laurel")
        out = replace(active, name=f"{name}.hidden_after_attention")
        self.ops.append(Scale(both, out, 2**-0.5))
        return out

    def gated(self, gate: Value, up: Value, name: str) -> Value:
        """activation(gate) * up, in sparse layers of the largest gates alone."""
        layer = name.removeprefix("layers.")
        deviations = self.config.sparsity[int(layer)] if layer.isdecimal() and self.config.sparsity else None
        if deviations is not None:
            sparse = replace(gate, name=f"{name}.gate_sparse")
            self.ops.append(GaussianTopK(gate, sparse, deviations))
            gate = sparse
        return super().gated(gate, up, name)


def build(config: Gemma3nConfig) -> Graph:
    """The graph of one step."""
    return Gemma3n(config).model()


ARCHITECTURE = Architecture("gemma3n", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
