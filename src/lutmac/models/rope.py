"""Frequencies of rotary embeddings (Su et al., 2021), plain and stretched to longer contexts."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, log, pi, sqrt
from typing import Literal

from lutmac.errors import CheckpointError
from lutmac.graph.operations.rope_angles import Rope, RopeStyle


@dataclass(frozen=True)
class RopeScaling:
    """How positions beyond the first training's are reached.

    - "linear" divides all frequencies by ``factor`` (Chen et al., 2023).
    - "yarn" divides the low ones, keeps the high ones and blends between (Peng et al., 2023): a dimension counts as
      high when it rotates more than ``beta_fast`` times within ``original_context`` positions and as low when it
      rotates less than ``beta_slow`` times. With ``truncate`` the bounds are whole dimensions.
    - "llama3" does the same by wavelength (Llama 3.1): above ``original_context / beta_slow`` low, below
      ``original_context / beta_fast`` high.
    - "longrope" divides each frequency by a factor of its own (Ding et al., 2024): short_factors where at most
      ``original_context`` positions are in use, else long_factors.

    attention_factor multiplies cosine and sine; None: what the method's authors recommend.
    """

    kind: Literal["none", "linear", "yarn", "llama3", "longrope"] = "none"
    factor: float = 1.0
    original_context: int = 0
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def describe(self, context: int) -> str:
        """For people: what is done to the frequencies of a model with so many positions in use."""
        match self.kind:
            case "none":
                return "none"
            case "longrope" if context > self.original_context:
                return f"longrope: its long factors, as more than {self.original_context} positions are in use"
            case "longrope":
                return f"longrope: its short factors, good for {self.original_context} positions"
            case "linear":
                return f"linear by {self.factor:g}"
        return f"{self.kind} by {self.factor:g}, from {self.original_context} positions"

    def attention_scale(self) -> float:
        """What cosine and sine are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor <= 1:
            return 1.0
        if self.kind == "yarn":
            return 1 + 0.1 * log(self.factor)
        if self.kind == "longrope":
            return sqrt(1 + log(self.factor) / log(self.original_context))
        return 1.0


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of the first ``rotary_dim`` dimensions of a head, from frequency 1 down to about 1 / theta.

    factors: divide the frequencies one by one, before any scaling; empty: none do.
    """

    style: RopeStyle
    rotary_dim: int
    theta: float
    scaling: RopeScaling = field(default_factory=RopeScaling)
    factors: tuple[float, ...] = ()

    def rope(self, context: int) -> Rope:
        """Frequencies ``theta ** (-2i / rotary_dim)``, scaled. context: positions in use.

        Raises CheckpointError for factors that are not one positive number for each frequency.
        """
        scaling, count, factors = self.scaling, self.rotary_dim // 2, self.factors
        plain = [self.theta ** (-2 * i / self.rotary_dim) for i in range(count)]
        if scaling.kind == "longrope":
            factors = scaling.long_factors if context > scaling.original_context else scaling.short_factors
        if factors:
            if len(factors) != count or min(factors) <= 0:
                raise CheckpointError(
                    f"rope needs {count} factors above 0, the checkpoint has {len(factors)}: {factors}"
                )
            plain = [frequency / factor for frequency, factor in zip(plain, factors, strict=True)]
        kept = self._kept_shares(plain)
        frequencies = tuple(f * share + f / scaling.factor * (1 - share) for f, share in zip(plain, kept, strict=True))
        return Rope(self.style, self.rotary_dim, frequencies, scaling.attention_scale())

    def _kept_shares(self, plain: list[float]) -> list[float]:
        """1 for frequencies that are kept, 0 for those that are divided by the factor, between them a ramp."""
        scaling = self.scaling
        if scaling.kind == "linear":
            return [0.0] * len(plain)
        if scaling.kind == "llama3":
            rotations = [scaling.original_context * frequency / (2 * pi) for frequency in plain]
            return [_clamped((n - scaling.beta_slow) / (scaling.beta_fast - scaling.beta_slow)) for n in rotations]
        if scaling.kind == "yarn":
            low, high = self._dimension_rotating(scaling.beta_fast), self._dimension_rotating(scaling.beta_slow)
            if scaling.truncate:
                low, high = floor(low), ceil(high)
            low, high = max(low, 0), min(high, self.rotary_dim - 1)
            return [1 - _clamped((i - low) / (high - low or 0.001)) for i in range(len(plain))]
        return [1.0] * len(plain)

    def _dimension_rotating(self, times: float) -> float:
        return self.rotary_dim * log(self.scaling.original_context / (times * 2 * pi)) / (2 * log(self.theta))


def _clamped(value: float) -> float:
    return min(1.0, max(0.0, value))
