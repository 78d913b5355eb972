"""The product with a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector, Weight, short_name


@dataclass(frozen=True)
class MatMul(Op):
    """``out = weight @ x (+ bias)``."""

    weight: Weight
    x: Value
    out: Value
    bias: Vector | None = None
    READS = ("x",)
    WRITES = ("out",)
    ADDS = True
    JOINS = True

    def wants(self) -> Mapping[str, tuple[Weight, ...]]:
        """x as the matrix reads it."""
        return {"x": (self.weight,)}

    def faults(self) -> Iterator[str]:
        """Widths that are not the matrix's."""
        if (self.x.width, self.out.width) != (self.weight.columns, self.weight.rows):
            yield f"its matrix is [{self.weight.rows}x{self.weight.columns}], not [{self.out.width}x{self.x.width}]"
        if self.bias is not None and self.bias.width != self.weight.rows:
            yield f"its bias is {self.bias.width} wide"

    def describe(self) -> str:
        """The matrix."""
        return f"{self.weight}{f' + {short_name(self.bias.name)}' if self.bias else ''}"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, rows of the matrix]."""
        out: Floats = x @ at.matrix(self.weight.name).T
        return out if self.bias is None else out + at.vector(self.bias.name)
