"""Queries that grow with their position, so that attention over long texts stays sharp (Llama 4, Ministral 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths


@dataclass(frozen=True)
class ScaleByPosition(Op):
    """``x * (1 + beta * ln(1 + floor(position / period)))``."""

    x: Value
    out: Value
    beta: float
    period: int
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width."""
        yield from unequal_widths(self.out, self.x)

    def describe(self) -> str:
        """Its numbers."""
        return f"1 + {self.beta:g} ln(1 + floor(position / {self.period}))"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        count, length = at.tokens.shape
        factors = 1 + self.beta * np.log1p(np.arange(length) // self.period)
        return np.asarray(x * np.tile(factors, count)[:, None], np.float32)
