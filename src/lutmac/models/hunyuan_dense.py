"""Hunyuan's dense models (Tencent, 2025): heads of q and k are normed after they were rotated.

https://huggingface.co/tencent/Hunyuan-7B-Instruct
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.rope_angles import Rope
from lutmac.graph.operations.rotate import Rotate
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names

GGUF_NAMES = {"self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm"}
DEFAULTS: Mapping[str, Any] = {"vocab_size": 290943, "rms_norm_eps": 1e-5}


class HunyuanDense(Decoder):
    """Rotates before it norms, so that nothing is left to rotate when keys are kept."""

    def rope(self, layer: int) -> Rope:
        """Nothing more."""
        return Rope(self._rope.style, 0, ())

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Rotated and normed queries and keys."""
        q, k, v = super().queries_keys_values(layer, x)
        return self._rotated_and_normed(layer, "query", q), self._rotated_and_normed(layer, "key", k), v

    def _rotated_and_normed(self, layer: int, which: str, x: Value) -> Value:
        name, head_dim = f"layers.{layer}", self.config.head_dim
        rotated = replace(x, name=f"{name}.{which}_rotated")
        self.ops.append(Rotate(x, self.angles_of(self._rope), rotated, head_dim, self._rope.style))
        return self.norm(f"model.{name}.self_attn.{which}_layernorm", rotated, f"{name}.{which}_normed", head_dim)


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    return read_decoder_config({**DEFAULTS, **config})


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    return read_gguf_decoder_config(metadata, "hunyuan-dense", "half_split")


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return HunyuanDense(config).model()


ARCHITECTURE = Architecture("hunyuan_v1_dense", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
