"""Two or three values side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class Concatenate(Op):
    """The columns of a, then those of b, then those of c, where there is one."""

    a: Value
    b: Value
    out: Value
    c: Value | None = None
    READS = ("a", "b", "c")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """A width that is not that of all."""
        widths = [value.width for value in self.reads()]
        if sum(widths) != self.out.width:
            yield f"it makes {self.out.width} floats of {' and '.join(map(str, widths))}"

    def reference(self, at: Reference, *parts: Floats) -> Floats:
        """[rows, width]."""
        return np.concatenate(parts, axis=1)
