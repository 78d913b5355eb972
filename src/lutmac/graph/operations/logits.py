"""The head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector, Weight, unequal_columns


@dataclass(frozen=True)
class Logits(Op):
    """``softcap(scale * (weight @ x + bias))`` into the caller's array, for the rows that want logits."""

    weight: Weight
    x: Value
    softcap: float = 0.0
    scale: float = 1.0
    bias: Vector | None = None
    READS = ("x",)

    def wants(self) -> Mapping[str, tuple[Weight, ...]]:
        """x as the matrix reads it."""
        return {"x": (self.weight,)}

    def faults(self) -> Iterator[str]:
        """A width that is not the matrix's."""
        yield from unequal_columns(self.weight, self.x)
        if self.bias is not None and self.bias.width != self.weight.rows:
            yield f"its bias is {self.bias.width} wide, not {self.weight.rows}"

    def describe(self) -> str:
        """The matrix."""
        return f"{self.weight}{' + bias' if self.bias else ''}"

    def reference(self, at: Reference, x: Floats) -> Any:
        """Nothing that an operation reads; see ``logits``."""
        return ()

    def logits(self, at: Reference, x: Floats) -> Floats:
        """[rows, vocabulary]."""
        out: Floats = x @ at.matrix(self.weight.name).T
        if self.bias is not None:
            out = out + at.vector(self.bias.name)
        out = np.float32(self.scale) * out
        return np.float32(self.softcap) * np.tanh(out / np.float32(self.softcap)) if self.softcap else out
