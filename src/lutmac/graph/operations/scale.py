"""A value times a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class Scale(Op):
    """``factor * trained * x``. trained: of the checkpoint, one number or one for each column; None: 1.

    factors: instead of trained, of parts of a row that are as wide as ``widths`` says.
    """

    x: Value
    out: Value
    factor: float = 1.0
    trained: Vector | None = None
    widths: tuple[int, ...] | None = None
    factors: tuple[float, ...] | None = None
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or another number of numbers."""
        of_columns = self.trained is not None and self.trained.width != 1
        if self.x.width != self.out.width or (self.trained and of_columns and self.trained.width != self.x.width):
            yield f"it makes {self.out.width} floats of {self.x.width} and {self.trained}"
        if len(self.widths or ()) != len(self.factors or ()) or sum(self.widths or (self.x.width,)) != self.x.width:
            yield f"parts of {self.widths} with factors {self.factors} are not those of {self.x.width} floats"

    def describe(self) -> str:
        """The numbers."""
        parts = zip(self.widths or (), self.factors or (), strict=True)
        of_parts = ", ".join(f"{width} times {factor:g}" for width, factor in parts)
        factor = [f"{self.factor:g}"] if self.factor != 1 else []
        return " · ".join([*factor, *map(str, self.vectors()), *([of_parts] if of_parts else [])])

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        trained = np.ones(1, np.float32) if self.trained is None else at.vector(self.trained.name)
        if self.widths is not None and self.factors is not None:
            trained = np.repeat(np.array(self.factors, np.float32), self.widths)
        return np.asarray(np.float32(self.factor) * trained * x, np.float32)
