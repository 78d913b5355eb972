"""The mean of a text's rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class SequenceMeans(Op):
    """For each row that wants outputs, the mean of all rows of x of its sequence. The step holds whole sequences."""

    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)

    def faults(self) -> Iterator[str]:
        """Another width, or rows that are not those of outputs."""
        if self.x.width != self.out.width or self.out.rows != "outputs":
            yield f"it makes {self.out.width} floats for {self.out.rows} of {self.x.width}"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens, width]: all rows want outputs."""
        count, length = at.tokens.shape
        means = x.reshape(count, length, -1).mean(axis=1, keepdims=True)
        return np.asarray(np.repeat(means, length, axis=1).reshape(x.shape), np.float32)
