"""A value times a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class Scale(Op):
    """``factor * trained * x``. trained: of the checkpoint, one number or one for each column; None: 1."""

    x: Value
    out: Value
    factor: float = 1.0
    trained: Vector | None = None
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or another number of numbers."""
        of_columns = self.trained is not None and self.trained.width != 1
        if self.x.width != self.out.width or (self.trained and of_columns and self.trained.width != self.x.width):
            yield f"it makes {self.out.width} floats of {self.x.width} and {self.trained}"

    def describe(self) -> str:
        """The numbers."""
        return " · ".join([*([f"{self.factor:g}"] if self.factor != 1 else []), *map(str, self.vectors())])

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        trained = np.ones(1, np.float32) if self.trained is None else at.vector(self.trained.name)
        return np.asarray(np.float32(self.factor) * trained * x, np.float32)
