"""Qwen3 (Yang et al., 2025): each head of q and k is normed before it is rotated. https://arxiv.org/abs/2505.09388"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.qwen2 import DEFAULTS, qwen_windows

GGUF_NAMES = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}


class NormedHeads(Decoder):
    """Norms of heads. HEAD_NORMS: of queries and of keys, within attention. OF_SOME: some checkpoints have none."""

    HEAD_NORMS: ClassVar[tuple[str, str]] = ("q_norm", "k_norm")
    OF_SOME: ClassVar[bool] = False

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Normed queries and keys."""
        q, k, v = super().queries_keys_values(layer, x)
        hf, name, head_dim = f"model.layers.{layer}.self_attn", f"layers.{layer}", self.config.head_size(layer)
        q_norm, k_norm = self.HEAD_NORMS
        if self.OF_SOME and not self.has(f"{hf}.{q_norm}.weight"):
            return q, k, v
        q = self.norm(f"{hf}.{q_norm}", q, f"{name}.q_normed", head_dim)
        k = self.norm(f"{hf}.{k_norm}", k, f"{name}.k_normed", head_dim)
        return q, k, v


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, "head_dim": 128, **config}
    decoder = read_decoder_config(config)
    return replace(decoder, windows=qwen_windows(config, decoder.num_hidden_layers))


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys, under "qwen3vl" for the text of Qwen3-VL."""
    return read_gguf_decoder_config(metadata, str(metadata.get("general.architecture", "qwen3")), "half_split")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return NormedHeads(config).model()


ARCHITECTURE = Architecture("qwen3", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
