"""The experts' products."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector, Weight


@dataclass(frozen=True)
class ExpertMatMul(Op):
    """``out = weights[e] @ x (+ biases[e])`` for the rows of each expert e."""

    weights: tuple[Weight, ...]
    x: Value
    starts: Value
    out: Value
    biases: tuple[Vector, ...] | None = None
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
        if self.biases is not None and [bias.width for bias in self.biases] != [self.out.width] * len(self.weights):
            yield f"its {len(self.biases)} biases are not those of {len(self.weights)} experts"

    def describe(self) -> str:
        """The matrices."""
        return f"{len(self.weights)} experts, the first {self.weights[0]}{' + bias' if self.biases else ''}"

    def reference(self, at: Reference, x: Floats, starts: Floats) -> Floats:
        """[rows of all experts, width]."""
        out = np.empty((len(x), self.out.width), np.float32)
        for index, (begin, end) in enumerate(itertools.pairwise(starts[0].astype(int))):
            expert = index % len(self.weights)
            out[begin:end] = x[begin:end] @ at.matrix(self.weights[expert].name).T
            if self.biases is not None:
                out[begin:end] += at.vector(self.biases[expert].name)
        return out
