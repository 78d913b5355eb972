"""The product of two values, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths


@dataclass(frozen=True)
class Multiply(Op):
    """``a * b``."""

    a: Value
    b: Value
    out: Value
    READS = ("a", "b")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of other widths."""
        yield from unequal_widths(self.out, self.a, self.b)

    def reference(self, at: Reference, a: Floats, b: Floats) -> Floats:
        """[rows, width]."""
        return a * b
