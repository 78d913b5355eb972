"""OLMo 2 and 3 (OLMo Team, 2024 and 2025): norms after attention and MLP, and of q and k over their whole width.

OLMo 3 has windows in three of four layers, whose rope is never stretched. In GGUF it is an olmo2.
https://arxiv.org/abs/2501.00656, https://arxiv.org/abs/2512.13961
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_ropes_by_type, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig

GGUF_NAMES = {
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


PERIOD = 4
DEFAULTS = {"vocab_size": 50304, "rms_norm_eps": 1e-5}


class PostNorms(Decoder):
    """Layers with norms behind attention and MLP alone."""

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP on the residual stream as it is; what they make is normed and added."""
        hf, name = f"model.layers.{layer}", f"layers.{layer}"
        x = self.attention(layer, hidden)
        x = self.norm(f"{hf}.post_attention_layernorm", x, f"{name}.attention_normed")
        hidden = self.add(hidden, x, f"{name}.hidden_after_attention")
        x = self.norm(f"{hf}.post_feedforward_layernorm", self.mlp(layer, hidden), f"{name}.mlp_normed")
        return self.add(hidden, x, f"{name}.hidden")


class NormedQueriesAndKeys(Decoder):
    """Norms of queries and keys over their whole width."""

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Normed queries and keys, all heads together."""
        q, k, v = super().queries_keys_values(layer, x)
        hf, name = f"model.layers.{layer}.self_attn", f"layers.{layer}"
        return self.norm(f"{hf}.q_norm", q, f"{name}.q_normed"), self.norm(f"{hf}.k_norm", k, f"{name}.k_normed"), v


class Olmo2(PostNorms, NormedQueriesAndKeys):
    """Post-norms, and norms of queries and keys."""


def _windowed(layer: int) -> bool:
    """OLMo 3's layers: the last of each four sees all positions."""
    return (layer + 1) % PERIOD != 0


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    if config.get("model_type") != "olmo3":
        return read_decoder_config(config)
    config = {"rope_theta": 5e5, "sliding_window": 4096, **config}
    decoder = read_decoder_config({**config, "rope_parameters": None, "rope_scaling": None})
    rope, local_rope = read_ropes_by_type(config, decoder.head_dim, config["rope_theta"])
    windows = read_windows(config, decoder.num_hidden_layers, _windowed)
    return replace(decoder, rope=rope, local_rope=local_rope, windows=windows)


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys."""
    decoder, read = read_gguf_decoder_config(metadata, "olmo2", "half_split"), MetadataReader(metadata, "olmo2")
    windows = read_gguf_windows(read, decoder.num_hidden_layers, _windowed)
    if not windows:
        return decoder
    local = RopeConfig("half_split", decoder.rope.rotary_dim, read.number("rope.freq_base_swa", decoder.rope.theta))
    return replace(decoder, windows=windows, local_rope=local)


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return Olmo2(config).model()


ARCHITECTURE = Architecture("olmo2", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
