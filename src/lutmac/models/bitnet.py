"""BitNet b1.58 (Ma et al., 2024): ternary weights, int8 activations, norms within attention and MLP.

Both Microsoft's 2B-4T, which squares its ReLU (https://arxiv.org/abs/2504.12285), and the older checkpoints of 1bitLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names

GGUF_NAMES = {
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.inner_attn_ln": "attn_sub_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.ffn_layernorm": "ffn_sub_norm",
}

DEFAULTS = {
    "vocab_size": 128256,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_hidden_layers": 30,
    "num_attention_heads": 20,
    "num_key_value_heads": 5,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5e5,
    "hidden_act": "relu2",
}


@dataclass(frozen=True)
class BitNetConfig(DecoderConfig):
    """A decoder, and what its norms in attention and MLP are called."""

    attention_norm: str = "attn_sub_norm"
    mlp_norm: str = "ffn_sub_norm"


class BitNet(Decoder):
    """Norms what attention and the activation make before the product that follows."""

    config: BitNetConfig

    def __init__(self, config: BitNetConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def attention_output(self, layer: int, attended: Value) -> Value:
        """The norm of all heads together, projected."""
        hf = f"model.layers.{layer}.self_attn.{self.config.attention_norm}"
        return super().attention_output(layer, self.norm(hf, attended, f"layers.{layer}.attended_normed"))

    def gated(self, gate: Value, up: Value, name: str) -> Value:
        """The norm of activation(gate) * up."""
        hf = f"model.{name}.mlp.{self.config.mlp_norm}"
        return self.norm(hf, super().gated(gate, up, name), f"{name}.gated_normed")


def read_config(config: Mapping[str, Any]) -> BitNetConfig:
    """The keys of a config.json, in either form."""
    older = "input_bits" in config
    decoder = BitNetConfig(**vars(read_decoder_config({**DEFAULTS, **config})))
    if not older:
        return decoder
    return replace(decoder, round_activations=True, attention_norm="inner_attn_ln", mlp_norm="ffn_layernorm")


def read_gguf_config(metadata: Mapping[str, Any]) -> BitNetConfig:
    """GGUF's keys, under "bitnet" for 1bitLLM's models, "bitnet-b1.58" or "bitnet-25" for Microsoft's."""
    architecture = str(metadata.get("general.architecture", "bitnet"))
    decoder = read_gguf_decoder_config(metadata, architecture, "half_split")
    activation = "silu" if architecture == "bitnet" else "relu_squared"
    return BitNetConfig(**{**vars(decoder), "round_activations": True, "activation": activation})


def build(config: BitNetConfig) -> Graph:
    """The graph of one step."""
    return BitNet(config).model()


ARCHITECTURE = Architecture("bitnet", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
