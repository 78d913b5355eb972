"""Heads as rows of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class HeadRows(Op):
    """x is heads side by side. out has a row for each (``out.per_token`` of them): its first ``out.width`` floats."""

    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Heads that are not those of x."""
        size, left = divmod(self.x.width, self.out.per_token)
        if left or self.out.width > size or self.x.rows_of != ("tokens", 1):
            yield f"{self.x.width} floats are not {self.out.per_token} heads of {self.out.width} or more"

    def describe(self) -> str:
        """How many, and what of each."""
        return f"{self.out.per_token} heads, the first {self.out.width} floats of each"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens * heads, width]."""
        heads = x.reshape(len(x) * self.out.per_token, -1)
        return heads[:, : self.out.width]
