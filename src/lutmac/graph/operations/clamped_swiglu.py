"""The gated activation of gpt-oss (https://arxiv.org/abs/2508.10925)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths


@dataclass(frozen=True)
class ClampedSwiglu(Op):
    """``gate * sigmoid(alpha * gate) * (up + offset)``, gate cut off above limit, up outside of -limit to limit."""

    gate: Value
    up: Value
    out: Value
    limit: float
    alpha: float = 1.0
    offset: float = 0.0
    READS = ("gate", "up")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of other widths."""
        yield from unequal_widths(self.out, self.gate, self.up)

    def describe(self) -> str:
        """Its numbers."""
        return f"limit {self.limit:g}, alpha {self.alpha:g}, offset {self.offset:g}"

    def reference(self, at: Reference, gate: Floats, up: Floats) -> Floats:
        """[rows, width]."""
        gate = np.minimum(gate, np.float32(self.limit))
        up = np.clip(up, np.float32(-self.limit), np.float32(self.limit))
        return np.asarray(gate / (1 + np.exp(np.float32(-self.alpha) * gate)) * (up + np.float32(self.offset)))
