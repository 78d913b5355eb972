"""RMSNorm (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class RMSNorm(Op):
    """``x / rms(x) * (weight + weight_bias)``, or ``x / rms(x)`` without a weight.

    A weight narrower than x norms each segment of its width, such as each head. segment: that width where there is no
    weight, or where the weight has its own part for each segment (the groups of a Mamba2 layer).
    """

    x: Value
    weight: Vector | None
    eps: float
    out: Value
    weight_bias: float = 0.0
    segment: int | None = None
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or a weight that does not divide them."""
        if self.weight is None and self.segment is None:
            yield "it has neither a weight nor the width of a segment"
        elif self.x.width != self.out.width or self.x.width % self._weights or self._weights % self._segment:
            yield f"it norms {self.x.width} floats in segments of {self._segment} to {self.out.width}"

    def describe(self) -> str:
        """The weight."""
        segments = "" if self.segment is None else f", segments of {self.segment}"
        return f"{self.weight or 'no weight'}{segments}, eps {self.eps:g}"

    def divided(self, at: Reference, divisor: Floats) -> Mapping[str, Floats] | None:
        """Another weight, where that is as wide as the row."""
        if self.weight is None or self.weight.width != self.x.width:
            return None
        bias = np.float32(self.weight_bias)
        return {self.weight.name: (at.vector(self.weight.name) + bias) / divisor - bias}

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        weight = 1 if self.weight is None else at.vector(self.weight.name) + np.float32(self.weight_bias)
        if self.weight is not None and self._segment != self._weights:
            weight = np.tile(weight, x.shape[1] // self._weights).reshape(-1, self._segment)
        segments = x.reshape(len(x), -1, self._segment)
        mean = np.square(segments).mean(axis=-1, keepdims=True)
        normed: Floats = segments / np.sqrt(mean + np.float32(self.eps)) * weight
        return normed.reshape(x.shape)

    @property
    def _segment(self) -> int:
        return self.segment or self._weights

    @property
    def _weights(self) -> int:
        return self.weight.width if self.weight is not None else self.segment or self.x.width
