"""Apertus (Swiss AI, 2025): Llama with normed heads and an MLP without a gate, whose activation was trained.

https://arxiv.org/abs/2509.14233
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph, Value, Vector
from lutmac.graph.operations.xielu import Xielu
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads

GGUF_NAMES = {**NORMED_HEADS_NAMES, "attention_layernorm": "attn_norm", "feedforward_layernorm": "ffn_norm"}
PARAMETERS = ("alpha_p", "alpha_n", "beta", "eps")
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 131072, "intermediate_size": 14336, "max_position_embeddings": 65536, "rms_norm_eps": 1e-5,
    "rope_theta": 12e6, "hidden_act": "xielu",
    "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    },
}  # fmt: skip


@dataclass(frozen=True)
class ApertusConfig(DecoderConfig):
    """A decoder. xielu: the PARAMETERS of each layer's activation; empty: they are tensors."""

    xielu: tuple[tuple[float, ...], ...] = ()


class Apertus(NormedHeads):
    """Norms of heads, and xIELU."""

    NORMS = ("attention_layernorm", "feedforward_layernorm")
    config: ApertusConfig

    def __init__(self, config: ApertusConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def mlp(self, layer: int, x: Value) -> Value:
        """Without a gate."""
        return self.plain_mlp(layer, x, "mlp.up_proj", "mlp.down_proj")

    def activated(self, layer: int, x: Value) -> Value:
        """xIELU with the layer's parameters."""
        out = replace(x, name=f"layers.{layer}.activated")
        if self.config.xielu:
            alpha_p, alpha_n, beta, eps = ((value,) for value in self.config.xielu[layer])
            self.ops.append(Xielu(x, out, alpha_p, alpha_n, beta, eps))
        else:
            hf = f"model.layers.{layer}.mlp.act_fn"
            self.ops.append(Xielu(x, out, *(Vector(f"{hf}.{name}", 1) for name in PARAMETERS)))
        return out


def read_config(config: Mapping[str, Any]) -> ApertusConfig:
    """The keys of a config.json. Raises CheckpointError for another activation."""
    config = {**DEFAULTS, **config}
    if config["hidden_act"] != "xielu":
        raise CheckpointError(f"hidden_act is {config['hidden_act']!r:.60}, expected 'xielu' of an Apertus")
    return ApertusConfig(**vars(read_decoder_config({**config, "hidden_act": "silu"})))


def read_gguf_config(metadata: Mapping[str, Any]) -> ApertusConfig:
    """GGUF's keys; the activations' parameters are arrays, with a number for each layer."""
    decoder = read_gguf_decoder_config(metadata, "apertus", "half_split")
    arrays: list[Any] = [metadata.get(f"xielu.{name}") for name in PARAMETERS]
    for name, array in zip(PARAMETERS, arrays, strict=True):
        if not hasattr(array, "__len__") or len(array) != decoder.num_hidden_layers:
            raise CheckpointError(f"metadata xielu.{name} is not for {decoder.num_hidden_layers} layers")
    return ApertusConfig(**vars(decoder), xielu=tuple(tuple(map(float, of)) for of in zip(*arrays, strict=True)))


def build(config: ApertusConfig) -> Graph:
    """The graph of one step."""
    return Apertus(config).model()


ARCHITECTURE = Architecture("apertus", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
