"""The head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight


@dataclass(frozen=True)
class Logits(Op):
    """``softcap(scale * weight @ x)`` into the caller's array, for the rows that want logits."""

    weight: Weight
    x: Value
    softcap: float = 0.0
    scale: float = 1.0
    READS = ("x",)

    def wants(self) -> Mapping[str, tuple[Weight, ...]]:
        """x as the matrix reads it."""
        return {"x": (self.weight,)}

    def faults(self) -> Iterator[str]:
        """A width that is not the matrix's."""
        if self.x.width != self.weight.columns:
            yield f"its matrix has {self.weight.columns} columns, not {self.x.width}"

    def describe(self) -> str:
        """The matrix."""
        return str(self.weight)

    def reference(self, at: Reference, x: Floats) -> Any:
        """Nothing that an operation reads; see ``logits``."""
        return ()

    def logits(self, at: Reference, x: Floats) -> Floats:
        """[rows, vocabulary]."""
        out: Floats = np.float32(self.scale) * (x @ at.matrix(self.weight.name).T)
        return np.float32(self.softcap) * np.tanh(out / np.float32(self.softcap)) if self.softcap else out
