"""The sum of two values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths


@dataclass(frozen=True)
class Add(Op):
    """``a + scale * b``. A pass lets what makes one part of a plain sum add it onto the other."""

    a: Value
    b: Value
    out: Value
    scale: float = 1.0
    READS = ("a", "b")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of other widths."""
        yield from unequal_widths(self.out, self.a, self.b)

    def describe(self) -> str:
        """The factor."""
        return "" if self.scale == 1 else f"the second times {self.scale:g}"

    def reference(self, at: Reference, a: Floats, b: Floats) -> Floats:
        """[rows, width]."""
        return a + np.float32(self.scale) * b
