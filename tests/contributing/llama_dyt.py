"""Llama without norms: a Dynamic Tanh stands in place of each (Zhu et al., 2025). https://arxiv.org/abs/2503.10622"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.operations.dynamic_tanh import DynamicTanh

from lutmac.graph.ir import Graph, Value, Vector
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names


class LlamaDyT(Decoder):
    """A decoder with Dynamic Tanhs."""

    def norm(self, hf: str, x: Value, name: str, width: int | None = None) -> Value:
        """What is called a norm, and is none."""
        out = replace(x, name=name)
        alpha, weight, bias = Vector(f"{hf}.alpha", 1), Vector(f"{hf}.weight", x.width), Vector(f"{hf}.bias", x.width)
        self.ops.append(DynamicTanh(x, alpha, weight, bias, out))
        return out


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    return read_gguf_decoder_config(metadata, "llama_dyt", "half_split")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return LlamaDyT(config).model()


ARCHITECTURE = Architecture("llama_dyt", read_decoder_config, read_gguf_config, gguf_names(), build)
