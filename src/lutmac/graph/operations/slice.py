"""Some neighbouring columns of a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class Slice(Op):
    """``out = x[first : first + width]``, the width being that of out."""

    x: Value
    first: int
    out: Value
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Columns that x does not have."""
        if not 0 <= self.first <= self.x.width - self.out.width:
            yield f"there are no {self.out.width} columns from {self.first} on in {self.x.width}"

    def describe(self) -> str:
        """Which ones."""
        return f"columns {self.first} to {self.first + self.out.width - 1}"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        return x[:, self.first : self.first + self.out.width]
