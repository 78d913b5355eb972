"""Dynamic Tanh (Zhu et al., 2025, https://arxiv.org/abs/2503.10622)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class DynamicTanh(Op):
    """``tanh(alpha * x) * weight + bias``: what stands where other models have a norm. alpha: one number."""

    x: Value
    alpha: Vector
    weight: Vector
    bias: Vector
    out: Value
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Widths that differ."""
        if not self.x.width == self.weight.width == self.bias.width == self.out.width or self.alpha.width != 1:
            yield f"it makes {self.out.width} floats of {self.x.width} with a weight of {self.weight.width}"

    def describe(self) -> str:
        """The weight."""
        return str(self.weight)

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        alpha, weight, bias = (at.vector(vector.name) for vector in (self.alpha, self.weight, self.bias))
        result: Floats = np.tanh(alpha * x) * weight + bias
        return result
