"""Two values side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class Concatenate(Op):
    """The columns of a, then those of b."""

    a: Value
    b: Value
    out: Value
    READS = ("a", "b")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """A width that is not that of both."""
        if self.a.width + self.b.width != self.out.width:
            yield f"it makes {self.out.width} floats of {self.a.width} and {self.b.width}"

    def reference(self, at: Reference, a: Floats, b: Floats) -> Floats:
        """[rows, width]."""
        return np.concatenate([a, b], axis=1)
