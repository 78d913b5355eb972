"""StarCoder 2 (Lozhkov et al., 2024): LayerNorms, biases, and an MLP without a gate. https://arxiv.org/abs/2402.19173"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.stablelm import LayerNormDecoder, with_layer_norm_eps

GGUF_NAMES = {"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 49152, "hidden_size": 3072, "intermediate_size": 12288, "num_hidden_layers": 30,
    "num_attention_heads": 24, "num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 4096,
}  # fmt: skip


class StarCoder2(LayerNormDecoder):
    """A plain MLP."""

    def mlp(self, layer: int, x: Value) -> Value:
        """Without a gate."""
        return self.plain_mlp(layer, x, "mlp.c_fc", "mlp.c_proj")


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    eps = MetadataReader(config, "").number("norm_epsilon", 1e-5)
    decoder = read_decoder_config({**DEFAULTS, **config, "rms_norm_eps": eps})
    return replace(decoder, windows=read_windows(config, decoder.num_hidden_layers, lambda _: True))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys, which have no window."""
    decoder = read_gguf_decoder_config(with_layer_norm_eps(metadata, "starcoder2"), "starcoder2", "half_split")
    return replace(decoder, activation="gelu_tanh")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return StarCoder2(config).model()


ARCHITECTURE = Architecture("starcoder2", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
