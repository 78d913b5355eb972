"""Granite with windows and attention sinks (IBM, 2026), also as a mixture of experts.

Windows are in all layers but each fourth; a layer may have a theta of its own, or no rope.
https://huggingface.co/docs/transformers/model_doc/granite_swa
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.granite import gguf_multipliers, json_multipliers, with_multipliers
from lutmac.models.granite_moe import GGUF_NAMES, GraniteMoe, gguf_experts, json_experts
from lutmac.models.metadata import MetadataReader

PERIOD = 4
_GGUF = "granite_swa"
# Gate and up of the MLP beside experts are one matrix.
NAMES = {
    **{name: gguf for name, gguf in GGUF_NAMES.items() if not name.startswith("shared_mlp.")},
    "self_attn.sinks": "attn_sinks.weight",
    "shared_mlp.input_linear": "ffn_up_shexp",
    "shared_mlp.output_linear": "ffn_down_shexp",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 100352, "hidden_size": 2560, "intermediate_size": 8192, "num_hidden_layers": 24,
    "num_attention_heads": 20, "num_key_value_heads": 4, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
}  # fmt: skip


class GraniteSwa(Decoder):
    """Granite with sinks."""

    SINKS = True


class GraniteMoeSwa(GraniteMoe):
    """Its mixture of experts."""

    SINKS = True


def _windowed(layer: int) -> bool:
    return layer % PERIOD != 0


def layer_thetas(config: Mapping[str, Any], layers: int) -> tuple[float, ...]:
    """``layer_rope_theta``, 0 where a layer has no rope; empty where the configuration does not say."""
    thetas = config.get("layer_rope_theta")
    if thetas is None:
        return ()
    numbers = isinstance(thetas, list) and all(type(theta) in (int, float) and theta >= 0 for theta in thetas)
    if not numbers or len(thetas) != layers:
        raise CheckpointError(f"layer_rope_theta is not a list of {layers} numbers")
    return tuple(map(float, thetas))


def read_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The keys of a config.json."""
    of_experts = config.get("model_type") == "granitemoe_swa"
    config = {"sliding_window": 128, **({} if of_experts else DEFAULTS), **config}
    decoder = with_multipliers(read_decoder_config(config), *json_multipliers(config))
    layers = decoder.num_hidden_layers
    decoder = replace(
        decoder, windows=read_windows(config, layers, _windowed), layer_thetas=layer_thetas(config, layers)
    )
    return json_experts(decoder, config) if of_experts else decoder


def read_gguf_config(metadata: Mapping[str, Any]) -> DecoderConfig:
    """GGUF's keys. ``rope_pattern`` has a truth for each layer: whether it has rope."""
    read, decoder = MetadataReader(metadata, _GGUF), read_gguf_decoder_config(metadata, _GGUF, "interleaved")
    layers = decoder.num_hidden_layers
    pattern: Any = metadata.get(f"{_GGUF}.attention.rope_pattern")
    if pattern is not None and (not hasattr(pattern, "__len__") or len(pattern) != layers):
        raise CheckpointError(f"metadata {_GGUF}.attention.rope_pattern is not for {layers} layers")
    plain = () if pattern is None else tuple(layer for layer in range(layers) if not pattern[layer])
    decoder = with_multipliers(decoder, *gguf_multipliers(read, decoder.head_dim))
    decoder = replace(decoder, windows=read_gguf_windows(read, layers, _windowed), no_rope_layers=plain)
    return gguf_experts(decoder, metadata, _GGUF) if read.integer("expert_count", 0, low=0) else decoder


def build(config: DecoderConfig) -> Graph:
    """The graph of one step."""
    return (GraniteMoeSwa(config) if isinstance(config, MixtureConfig) else GraniteSwa(config)).model()


ARCHITECTURE = Architecture(
    "granite_swa",
    read_config,
    read_gguf_config,
    gguf_names(NAMES),
    build,
)
