"""The experts' products."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight


@dataclass(frozen=True)
class ExpertMatMul(Op):
    """``out = weights[e] @ x`` for the rows of each expert e."""

    weights: tuple[Weight, ...]
    x: Value
    starts: Value
    out: Value
    READS = ("x", "starts")
    WRITES = ("out",)

    def wants(self) -> Mapping[str, tuple[Weight, ...]]:
        """x as all matrices read it."""
        return {"x": self.weights}

    def faults(self) -> Iterator[str]:
        """Widths that are not the matrices'."""
        shapes = {(weight.rows, weight.columns) for weight in self.weights}
        if shapes != {(self.out.width, self.x.width)}:
            yield f"its matrices are {sorted(shapes)}, not [{self.out.width}x{self.x.width}]"

    def describe(self) -> str:
        """The matrices."""
        return f"{len(self.weights)} experts, the first {self.weights[0]}"

    def reference(self, at: Reference, x: Floats, starts: Floats) -> Floats:
        """[rows of all experts, width]."""
        bounds = itertools.pairwise(starts[0].astype(int))
        parts = [
            x[begin:end] @ at.matrix(weight.name).T for weight, (begin, end) in zip(self.weights, bounds, strict=True)
        ]
        return np.concatenate(parts)
