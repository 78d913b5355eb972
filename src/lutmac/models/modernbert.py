"""ModernBERT (Warner et al., 2024): norms first, gates in the MLP, ropes, and windows in two of three layers.

https://arxiv.org/abs/2412.13663
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.activation import ActivationKind
from lutmac.models import Architecture
from lutmac.models.config_gguf import read_gguf_windows
from lutmac.models.config_json import ACTIVATIONS, read_ropes_by_type, read_windows
from lutmac.models.encoder import ClassifierPooling, Encoder, EncoderConfig
from lutmac.models.encoder_config import gguf_encoder_config, json_encoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig

LAYERS = "model.layers"
LOCAL_THETA, GLOBAL_THETA = 10000.0, 160000.0
PERIOD = 3  # the first layer of each period sees all positions
GGUF_NAMES = {
    "model.embeddings.tok_embeddings": "token_embd",
    "model.embeddings.norm": "token_embd_norm",
    "model.final_norm": "output_norm",
    "attn_norm": "attn_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.Wo": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.Wi": "ffn_up",
    "mlp.Wo": "ffn_down",
    "head.dense": "cls",
    "head.norm": "cls.norm",
    "classifier": "cls.output",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
    "intermediate_size": 1152, "hidden_activation": "gelu", "max_position_embeddings": 8192, "norm_eps": 1e-5,
    "local_attention": 128,
}  # fmt: skip


class ModernBert(Encoder):
    """Norms in front of attention and MLP, but for the first layer's, whose input is normed already."""

    WORDS = "tok_embeddings"
    EMBEDDING_NORM = "model.embeddings.norm"
    HEAD_ACTIVATION: ClassVar[ActivationKind] = "gelu"
    LAYERS = LAYERS
    PARTS: ClassVar[Mapping[str, str]] = {"qkv": "attn.Wqkv", "output": "attn.Wo"}

    def encoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP, each on the norm of the residual stream and added to it."""
        name, norm = f"layers.{layer}", self.of_layer(layer, "attn_norm")
        x = self.norm(norm, hidden, f"{name}.attention_input") if layer or self.has(f"{norm}.weight") else hidden
        hidden = self.add(hidden, self.attention(layer, x), f"{name}.hidden_after_attention")
        x = self.norm(self.of_layer(layer, "mlp_norm"), hidden, f"{name}.mlp_input")
        return self.add(hidden, self.mlp(layer, x), f"{name}.hidden")

    def mlp(self, layer: int, x: Value) -> Value:
        """GeGLU; gate and what it multiplies are one matrix."""
        name, width = f"layers.{layer}", self.config.intermediate_size
        gate, up = self.parts(self.of_layer(layer, "mlp.Wi"), x, {f"{name}.gate": width, f"{name}.up": width})
        gated = self.gated(gate, up, name)
        return self.linear(self.of_layer(layer, "mlp.Wo"), gated, self.config.hidden_size, f"{name}.mlp")

    def final(self, hidden: Value) -> Value:
        """The last norm."""
        return self.norm("model.final_norm", hidden, "final")

    def classifier(self, x: Value) -> None:
        """A product, an activation, a norm, and the logits; GGUF files may lack all but the last."""
        if self.has("head.dense.weight"):
            x = self.head_layer("head.dense", x)
        if self.has("head.norm.weight"):
            x = self.norm("head.norm", x, "head.normed")
        self.classifier_logits("classifier", x)


def read_config(config: Mapping[str, Any]) -> EncoderConfig:
    """The keys of a config.json. Raises UnsupportedModelError."""
    thetas = {"rope_theta": config.get("global_rope_theta") or GLOBAL_THETA}
    config = {**DEFAULTS, **thetas, **config, "is_causal": None}
    if config.get("classifier_activation", "gelu") != "gelu":
        raise UnsupportedModelError(f"classifier_activation {config['classifier_activation']!r} is not supported")
    read = MetadataReader(config, "")
    layers, period = read.integer("num_hidden_layers"), read.integer("global_attn_every_n_layers", PERIOD)
    eps, window = read.number("norm_eps"), read.integer("local_attention")
    plain = {**config, "layer_norm_eps": eps, "hidden_act": read.text("hidden_activation"), "rope_parameters": None}
    encoder = json_encoder_config(plain, classifier_pooling=read_classifier_pooling(read))
    local_theta = read.number("local_rope_theta", LOCAL_THETA)
    rope, local_rope = read_ropes_by_type(config, encoder.head_dim, local_theta)
    windows = read_windows({**config, "sliding_window": window}, layers, lambda layer: layer % period != 0)
    return replace(encoder, rope=rope, local_rope=local_rope, windows=windows)


def read_classifier_pooling(read: MetadataReader) -> ClassifierPooling:
    """What the head reads. Raises UnsupportedModelError."""
    match read.text("classifier_pooling", "cls"):
        case "cls":
            return "cls"
        case "mean":
            return "mean"
        case other:
            raise UnsupportedModelError(f"classifier_pooling {other!r:.40} is not supported; supported: cls, mean")


def read_gguf_config(metadata: Mapping[str, Any]) -> EncoderConfig:
    """GGUF's keys. A head reads the mean where the file does not say, as llama.cpp has it."""
    metadata = {"modern-bert.rope.freq_base": GLOBAL_THETA, **metadata}
    read = MetadataReader(metadata, "modern-bert")
    encoder = gguf_encoder_config(metadata, "modern-bert", unsaid="mean", type_vocab_size=0)
    local = RopeConfig("half_split", encoder.rope.rotary_dim, read.number("rope.freq_base_swa", LOCAL_THETA))
    layers = encoder.num_hidden_layers
    return replace(
        encoder,
        activation=ACTIVATIONS.get(read.text("hidden_act", "gelu"), "gelu"),
        local_rope=local,
        windows=_gguf_windows(read, layers),
    )


def _gguf_windows(read: MetadataReader, layers: int) -> tuple[int, ...]:
    """A pattern of n gives the first layer of each n all positions, and not the last as in decoders."""
    window, pattern = read.integer("attention.sliding_window", 0, low=0), "attention.sliding_window_pattern"
    if not window or hasattr(read.metadata.get(f"{read.prefix}.{pattern}"), "__len__"):
        return read_gguf_windows(read, layers, lambda layer: layer % PERIOD != 0)
    period = read.integer(pattern, PERIOD)
    return tuple(window if layer % period else 0 for layer in range(layers))


def build(config: EncoderConfig) -> Graph:
    """The graph of one step."""
    return ModernBert(config).model()


ARCHITECTURE = Architecture("modernbert", read_config, read_gguf_config, gguf_names(GGUF_NAMES, LAYERS), build)
