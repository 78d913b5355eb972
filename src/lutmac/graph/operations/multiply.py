"""The product of two values, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value


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
        if not self.a.width == self.b.width == self.out.width:
            yield f"it makes {self.out.width} floats of {self.a.width} and {self.b.width}"

    def reference(self, at: Reference, a: Floats, b: Floats) -> Floats:
        """[rows, width]."""
        return a * b
