"""Gemma 2 (Gemma Team, 2024): norms before and after each part, capped scores and logits, windows in every other layer.

https://arxiv.org/abs/2408.00118
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_activation, read_decoder_config, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

GGUF_NAMES = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
LAYERS_OF_27B = 46
# Of checkpoints that do not say.
WINDOW = 4096
SOFTCAPS = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}


SIZES_OF_2B = {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": WINDOW,
}
DEFAULTS = {**SIZES_OF_2B, **SOFTCAPS}


class NormedTwice(Decoder):
    """Layers with norms on both sides of attention and MLP. NORMS: before and after attention, then of the MLP."""

    NORMS: ClassVar[tuple[str, ...]] = (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    )

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP, each between two norms and then added to the residual stream."""
        name = f"layers.{layer}"
        before_attention, after_attention, before_mlp, after_mlp = (f"model.{name}.{norm}" for norm in self.NORMS)
        x = self.norm(before_attention, hidden, f"{name}.attention_input")
        x = self.post_norm(after_attention, self.attention(layer, x), f"{name}.attention_normed")
        hidden = self.add(hidden, x, f"{name}.hidden_after_attention")
        x = self.norm(before_mlp, hidden, f"{name}.mlp_input")
        x = self.post_norm(after_mlp, self.feed_forward(layer, x, hidden), f"{name}.mlp_normed")
        return self.add(hidden, x, f"{name}.hidden")

    def feed_forward(self, layer: int, x: Value, hidden: Value) -> Value:
        """The MLP. x: the norm of the residual stream, which is hidden."""
        return self.mlp(layer, x)

    def post_norm(self, hf: str, x: Value, name: str) -> Value:
        """The norm of what attention or MLP makes."""
        return self.norm(hf, x, name)


def with_gemma_scales(decoder: DecoderConfig, query_scalar: float, softcaps: MetadataReader) -> DecoderConfig:
    """Gemma's scales and caps: of scores 1 / sqrt(query_scalar), of embeddings sqrt(hidden_size)."""
    return replace(
        decoder,
        attention_scale=query_scalar**-0.5,
        attention_softcap=softcaps.number("attn_logit_softcapping", 0.0),
        logits_softcap=softcaps.number("final_logit_softcapping", 0.0),
        embedding_scale=decoder.hidden_size**0.5,
    )


def gguf_query_scalar(decoder: DecoderConfig, layers_of_27b: int) -> float:
    """GGUF files do not say it: it is the size of a head, but for the 27B models hidden_size over heads."""
    if decoder.num_hidden_layers == layers_of_27b:
        return decoder.hidden_size / decoder.num_attention_heads
    return decoder.head_dim


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json. Norms' weights are stored less 1."""
    config = {**DEFAULTS, **config}
    read = MetadataReader(config, "")
    decoder = read_decoder_config(config)
    windows = read_windows(config, decoder.num_hidden_layers, lambda layer: layer % 2 == 0)
    decoder = with_gemma_scales(decoder, read.number("query_pre_attn_scalar", 256.0), read)
    activation = read_activation(config, "hidden_activation")
    return replace(decoder, windows=windows, activation=activation, norm_weight_bias=1.0)


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys; norms' weights are stored as they multiply."""
    read = MetadataReader({**{f"gemma2.{key}": value for key, value in SOFTCAPS.items()}, **metadata}, "gemma2")
    decoder = read_gguf_decoder_config(metadata, "gemma2", "half_split")
    windows = read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: layer % 2 == 0, default=WINDOW)
    decoder = with_gemma_scales(decoder, gguf_query_scalar(decoder, LAYERS_OF_27B), read)
    local = None
    if read.has("rope.freq_base_swa"):
        local = replace(decoder.rope, theta=read.number("rope.freq_base_swa"))
    return replace(decoder, windows=windows, local_rope=local, activation="gelu_tanh")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return NormedTwice(config).model()


ARCHITECTURE = Architecture("gemma2", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
