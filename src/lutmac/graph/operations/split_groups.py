"""What a row holds group by group, taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class SplitGroups(Op):
    """x is groups of ``parts``: out has of every group the first part, then of every group the second, and so on.

    rest: takes the last part of every group; None: that is in out, too.
    """

    x: Value
    parts: tuple[int, ...]
    out: Value
    rest: Value | None = None
    READS = ("x",)
    WRITES = ("out", "rest")

    def writes(self) -> tuple[Value, ...]:
        """What there is."""
        return (self.out,) if self.rest is None else (self.out, self.rest)

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the parts."""
        groups, left = divmod(self.x.width, sum(self.parts))
        rest = 0 if self.rest is None else self.rest.width
        if left or self.out.width + rest != self.x.width or (rest and rest != groups * self.parts[-1]):
            yield f"{self.x.width} floats in groups of {self.parts} become {self.out.width} and {rest}"

    def describe(self) -> str:
        """The parts."""
        return f"groups of {' + '.join(map(str, self.parts))}"

    def reference(self, at: Reference, x: Floats) -> Floats | tuple[Floats, ...]:
        """[rows, width] of each."""
        groups = np.split(x.reshape(len(x), -1, sum(self.parts)), np.cumsum(self.parts)[:-1], axis=-1)
        parts = [part.reshape(len(x), -1) for part in groups]
        if self.rest is None:
            return np.concatenate(parts, axis=1)
        return np.concatenate(parts[:-1], axis=1), parts[-1]
