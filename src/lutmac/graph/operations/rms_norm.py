"""RMSNorm (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class RMSNorm(Op):
    """``x / rms(x) * (weight + weight_bias)``, or ``x / rms(x)`` without a weight.

    A weight narrower than x norms each run of its width, such as each head. run: that width where there is no weight.
    """

    x: Value
    weight: Vector | None
    eps: float
    out: Value
    weight_bias: float = 0.0
    run: int | None = None
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or a weight that does not divide them."""
        if (self.weight is None) == (self.run is None):
            yield "it has either a weight or the width of a run"
        elif self.x.width != self.out.width or self.x.width % self._run:
            yield f"it norms {self.x.width} floats in runs of {self._run} to {self.out.width}"

    def describe(self) -> str:
        """The weight."""
        return f"{self.weight or f'no weight, runs of {self.run}'}, eps {self.eps:g}"

    def divided(self, at: Reference, divisor: Floats) -> Mapping[str, Floats] | None:
        """Another weight, where that is as wide as the row."""
        if self.weight is None or self.weight.width != self.x.width:
            return None
        bias = np.float32(self.weight_bias)
        return {self.weight.name: (at.vector(self.weight.name) + bias) / divisor - bias}

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        weight = 1 if self.weight is None else at.vector(self.weight.name) + np.float32(self.weight_bias)
        runs = x.reshape(len(x), -1, self._run)
        mean = np.square(runs).mean(axis=-1, keepdims=True)
        normed: Floats = runs / np.sqrt(mean + np.float32(self.eps)) * weight
        return normed.reshape(x.shape)

    @property
    def _run(self) -> int:
        return self.weight.width if self.weight is not None else self.run or self.x.width
