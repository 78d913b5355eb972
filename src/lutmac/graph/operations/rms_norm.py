"""RMSNorm (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class RMSNorm(Op):
    """``x / rms(x) * (weight + weight_bias)``.

    A weight narrower than x norms each run of its width, such as each head.
    """

    x: Value
    weight: Vector
    eps: float
    out: Value
    weight_bias: float = 0.0
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or a weight that does not divide them."""
        if self.x.width != self.out.width or self.x.width % self.weight.width:
            yield f"it norms {self.x.width} floats in runs of {self.weight.width} to {self.out.width}"

    def describe(self) -> str:
        """The weight."""
        return f"{self.weight}, eps {self.eps:g}"

    def divided(self, at: Reference, divisor: Floats) -> Mapping[str, Floats] | None:
        """Another weight, where that is as wide as the row."""
        if self.weight.width != self.x.width:
            return None
        bias = np.float32(self.weight_bias)
        return {self.weight.name: (at.vector(self.weight.name) + bias) / divisor - bias}

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        weight = at.vector(self.weight.name) + np.float32(self.weight_bias)
        runs = x.reshape(len(x), -1, len(weight))
        mean = np.square(runs).mean(axis=-1, keepdims=True)
        normed: Floats = runs / np.sqrt(mean + np.float32(self.eps)) * weight
        return normed.reshape(x.shape)
