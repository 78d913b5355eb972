"""Frequencies of rotary embeddings, plain and stretched to longer contexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, log, pi
from typing import Any, Literal

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Rope, RopeStyle
from lutmac.models.metadata import MetadataReader


@dataclass(frozen=True)
class RopeScaling:
    """How positions beyond the trained context are reached.

    "linear" divides all frequencies by ``factor`` (Chen et al., 2023). "yarn" divides the low ones, keeps the high ones
    and blends between (Peng et al., 2023), where a dimension counts as high when it turns more than ``beta_fast`` times
    within ``original_context`` positions and as low when it turns less than ``beta_slow`` times.
    """

    kind: Literal["none", "linear", "yarn"] = "none"
    factor: float = 1.0
    original_context: int = 0
    attention_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0


def scaling_from_gguf(reader: MetadataReader, context: int) -> RopeScaling:
    """The keys ``rope.scaling.*``, and ``rope.scale_linear`` of older files."""
    kind = reader.text("rope.scaling.type", "linear" if reader.has("rope.scale_linear") else "none")
    factor = reader.number("rope.scaling.factor", reader.number("rope.scale_linear", 1.0))
    if kind == "none" or factor in (0.0, 1.0):
        return RopeScaling()
    if kind == "linear":
        return RopeScaling("linear", factor)
    if kind == "yarn":
        return RopeScaling(
            "yarn",
            factor,
            reader.integer("rope.scaling.original_context_length", context),
            reader.number("rope.scaling.attn_factor", 1.0),
            reader.number("rope.scaling.yarn_beta_fast", 32.0),
            reader.number("rope.scaling.yarn_beta_slow", 1.0),
        )
    raise UnsupportedModelError(f"rope scaling {kind!r} is not supported; supported: none, linear, yarn")


def scaling_from_config(config: Mapping[str, Any]) -> RopeScaling:
    """``rope_scaling`` of a config.json, or what transformers 5 calls ``rope_parameters``."""
    values = config.get("rope_parameters") or config.get("rope_scaling") or {}
    reader = MetadataReader(values, "")
    kind = reader.text("rope_type", reader.text("type", "default"))
    if kind == "default":
        return RopeScaling()
    if kind == "linear":
        return RopeScaling("linear", reader.number("factor"))
    raise UnsupportedModelError(f"rope scaling {kind!r} is not supported; supported: default, linear")


def make_rope(
    style: RopeStyle, rotary_dim: int, theta: float, scaling: RopeScaling, factors: tuple[float, ...] | None = None
) -> Rope:
    """Frequencies ``theta ** (-2i / rotary_dim)``, scaled; ``factors`` divide them one by one (Llama 3)."""
    plain = [theta ** (-2 * i / rotary_dim) for i in range(rotary_dim // 2)]
    if factors is not None:
        plain = [frequency / factor for frequency, factor in zip(plain, factors, strict=True)]
    if scaling.kind == "none":
        return Rope(style, rotary_dim, tuple(plain))
    if scaling.kind == "linear":
        return Rope(style, rotary_dim, tuple(frequency / scaling.factor for frequency in plain))
    frequencies = []
    for i, frequency in enumerate(plain):
        kept = _kept_share(i, rotary_dim, theta, scaling)
        frequencies.append(frequency * kept + frequency / scaling.factor * (1 - kept))
    temperature = scaling.attention_factor * (1 + 0.1 * log(scaling.factor))
    return Rope(style, rotary_dim, tuple(frequencies), temperature)


def _kept_share(i: int, rotary_dim: int, theta: float, scaling: RopeScaling) -> float:
    """1 for dimensions that keep their frequency, 0 for those that are slowed down in full, between them a ramp."""

    def dimension_that_turns(times: float) -> float:
        return rotary_dim * log(scaling.original_context / (times * 2 * pi)) / (2 * log(theta))

    low = max(0, floor(dimension_that_turns(scaling.beta_fast)))
    high = min(rotary_dim - 1, ceil(dimension_that_turns(scaling.beta_slow)))
    return 1 - min(1.0, max(0.0, (i - low) / max(0.001, high - low)))
