"""Granite 4 (IBM, 2025): Mamba2 in most layers, attention in the others, experts beside a shared MLP or that alone.

https://huggingface.co/docs/transformers/model_doc/granitemoehybrid
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.granite import gguf_multipliers, json_multipliers, with_multipliers
from lutmac.models.granite_moe import GGUF_NAMES, GraniteMoe, gguf_experts, json_experts
from lutmac.models.mamba2 import (
    Mamba2Config,
    Mamba2Decoder,
    gguf_mamba_names,
    read_gguf_mamba2,
    read_mamba2,
)
from lutmac.models.metadata import MetadataReader

DEFAULTS: Mapping[str, Any] = {
    "mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2,
    "num_local_experts": 8, "shared_intermediate_size": 1024,
}  # fmt: skip
# What layer_types and layers_block_type call them, on the hub and since transformers 5.
_KINDS = {"mamba": True, "linear_attention": True, "attention": False, "full_attention": False}


@dataclass(frozen=True)
class GraniteHybridConfig(Mamba2Config, MixtureConfig):
    """Experts, of which there may be none. attention_layers: those with attention; the others have Mamba2."""

    attention_layers: tuple[int, ...] = ()


class GraniteHybrid(GraniteMoe, Mamba2Decoder):
    """Mamba2 or attention, then experts beside an MLP, or the MLP alone."""

    config: GraniteHybridConfig

    def __init__(self, config: GraniteHybridConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def attention(self, layer: int, x: Value) -> Value:
        """What mixes positions, of whichever kind the layer is."""
        return super().attention(layer, x) if layer in self.config.attention_layers else self.mamba(layer, x)

    def mlp(self, layer: int, x: Value) -> Value:
        """Without experts it is what is the shared MLP elsewhere; GGUF calls it as any other."""
        hf, name, width = f"model.layers.{layer}.shared_mlp", f"layers.{layer}", self.config.intermediate_size
        if self.config.num_experts or not self.has(f"{hf}.input_linear.weight"):
            return super().mlp(layer, x)
        gate, up = self.parts(f"{hf}.input_linear", x, {f"{name}.gate": width, f"{name}.up": width})
        gated = self.gated(gate, up, name)
        return self.linear(f"{hf}.output_linear", gated, self.config.hidden_size, f"{name}.mlp")


def read_config(config: Mapping[str, Any]) -> GraniteHybridConfig:
    """The keys of a config.json, of transformers or of the hub's repositories."""
    values = {**DEFAULTS, **config}
    read = MetadataReader(values, "")
    has_experts = read.integer("num_local_experts", low=0) > 0
    if not has_experts:
        values["intermediate_size"] = read.integer("shared_intermediate_size")
    decoder = with_multipliers(read_decoder_config(values), *json_multipliers(values))
    if values.get("position_embedding_type") != "rope":
        decoder = replace(decoder, no_rope_layers=tuple(range(decoder.num_hidden_layers)))
    mixture = json_experts(decoder, values) if has_experts else without_experts(decoder)
    if values.get("mamba_d_head") in (None, "auto"):
        values["mamba_d_head"] = read.integer("mamba_expand") * decoder.hidden_size // read.integer("mamba_n_heads")
    return GraniteHybridConfig(
        **vars(mixture),
        mamba=read_mamba2(values),
        attention_layers=read_attention_layers(values, decoder.num_hidden_layers),
    )


def without_experts(decoder: DecoderConfig) -> MixtureConfig:
    """A decoder whose layers have an MLP alone."""
    return MixtureConfig(**vars(decoder), dense_layers=tuple(range(decoder.num_hidden_layers)))


def read_attention_layers(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """``layer_types`` or ``layers_block_type`` says which have attention; without either none has."""
    types = config.get("layer_types") or config.get("layers_block_type")
    if types is None:
        return ()
    if not isinstance(types, list) or len(types) != layers:
        raise CheckpointError(f"layer_types is not a list of {layers} types")
    unknown = sorted(set(map(str, types)) - set(_KINDS))
    if unknown:
        raise UnsupportedModelError(f"layers of type {unknown[0]!r} are not supported")
    return tuple(layer for layer, kind in enumerate(types) if not _KINDS[kind])


def read_gguf_config(metadata: Mapping[str, Any]) -> GraniteHybridConfig:
    """GGUF's keys; ``attention.head_count_kv`` is 0 where a layer has Mamba2."""
    name = "granitehybrid"
    read = MetadataReader(metadata, name)
    layers, heads = read.integer("block_count"), read.same_for_all_layers("attention.head_count")
    kv_heads = read.for_layers("attention.head_count_kv", layers, heads)
    metadata = {**metadata, f"{name}.attention.head_count_kv": max(kv_heads) or heads}
    decoder = read_gguf_decoder_config(metadata, name, "interleaved")
    if metadata.get(f"{name}.rope.scaling.finetuned", True) is False:
        decoder = replace(decoder, no_rope_layers=tuple(range(layers)))
    decoder = with_multipliers(decoder, *gguf_multipliers(read, decoder.head_dim))
    has_experts = read.integer("expert_count", 0, low=0) > 0
    mixture = gguf_experts(decoder, metadata, name) if has_experts else without_experts(decoder)
    return GraniteHybridConfig(
        **vars(mixture),
        mamba=read_gguf_mamba2(read),
        attention_layers=tuple(layer for layer, count in enumerate(kv_heads) if count),
    )


def build(config: GraniteHybridConfig) -> Graph:
    """The graph of one step."""
    return GraniteHybrid(config).model()


ARCHITECTURE = Architecture(
    "granitemoehybrid", read_config, read_gguf_config, gguf_names({**GGUF_NAMES, **gguf_mamba_names("mamba")}), build
)
