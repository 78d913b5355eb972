"""Maple (2026): a ternary mixture of experts with a clamped gate; windows, and rope, in three of four layers.

It comes as GGUF. Its windows are of as many positions as the file says, as llama.cpp has it (vLLM's pull request 51833
reads one more out of the authors' code).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.clamped_swiglu import ClampedSwiglu
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_mixture import gguf_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads

PERIOD = 4


@dataclass(frozen=True)
class MapleConfig(MixtureConfig):
    """A mixture of experts. limits: of each layer's gated activation, see ClampedSwiglu; 0: none."""

    limits: tuple[float, ...] = ()


class Maple(MixtureDecoder, NormedHeads):
    """Experts whose gate and up are cut off."""

    config: MapleConfig

    def __init__(self, config: MapleConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def gated_experts(self, layer: int, gate: Value, up: Value) -> Value:
        """silu(gate) * up, gate at most the layer's limit, up within it on both sides."""
        limit = self.config.limits[layer] if self.config.limits else 0.0
        if not limit:
            return super().gated_experts(layer, gate, up)
        gated = replace(gate, name=f"layers.{layer}.gated")
        self.ops.append(ClampedSwiglu(gate, up, gated, limit))
        return gated


def read_config(config: Mapping[str, Any]) -> MapleConfig:
    """Raises UnsupportedModelError: nobody has defined what a config.json says of it."""
    raise UnsupportedModelError("Maple is read from GGUF files alone: there is no config.json of it to go by")


def read_gguf_config(metadata: Mapping[str, Any]) -> MapleConfig:
    """GGUF's keys."""
    metadata = {"maple.feed_forward_length": metadata.get("maple.expert_feed_forward_length"), **metadata}
    read, decoder = MetadataReader(metadata, "maple"), read_gguf_decoder_config(metadata, "maple", "half_split")
    layers = decoder.num_hidden_layers
    windows = read_gguf_windows(read, layers, lambda layer: (layer + 1) % PERIOD != 0)
    plain = tuple(layer for layer in range(layers) if not (windows and windows[layer]))
    theta = read.number("rope.freq_base_swa", decoder.rope.theta)  # only windowed layers have any
    decoder = replace(decoder, windows=windows, no_rope_layers=plain, rope=replace(decoder.rope, theta=theta))
    mixture = gguf_mixture(decoder, metadata, "maple")
    return MapleConfig(**vars(mixture), limits=_limits(metadata.get("maple.swiglu_clamp_exp"), layers))


def _limits(limits: Any, layers: int) -> tuple[float, ...]:
    """A number for each layer, or one for all."""
    if limits is None:
        return ()
    values = [limits] * layers if isinstance(limits, int | float) else limits if hasattr(limits, "__len__") else []
    if len(values) < layers or isinstance(values, str) or not all(value >= 0 for value in values):
        raise CheckpointError(f"metadata maple.swiglu_clamp_exp is {limits!r:.60}, expected a number for each layer")
    return tuple(float(value) for value in values[:layers])


def build(config: MapleConfig) -> Graph:
    """The graph of one step."""
    return Maple(config).model()


ARCHITECTURE = Architecture(
    "maple", read_config, read_gguf_config, gguf_names({**MIXTURE_NAMES, **NORMED_HEADS_NAMES}), build
)
