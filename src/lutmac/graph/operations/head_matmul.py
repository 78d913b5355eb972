"""A product for each head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight


@dataclass(frozen=True)
class HeadMatMul(Op):
    """``out[head] = weights[head] @ x[head]``.

    x: a row for each head of a token (HeadRows). out: results side by side in the token's row, at equal distances; what
    lies behind each is left as it was.
    """

    weights: tuple[Weight, ...]
    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)

    def wants(self) -> Mapping[str, tuple[Weight, ...]]:
        """x as all matrices read it."""
        return {"x": self.weights}

    def faults(self) -> Iterator[str]:
        """Shapes that are not those of the heads."""
        heads = len(self.weights)
        shapes = {(weight.rows, weight.columns) for weight in self.weights}
        if len(shapes) != 1 or self.x.per_token != heads or self.out.width % heads:
            yield f"its {heads} matrices are {sorted(shapes)}, for {self.x.per_token} heads"
        elif self.x.width != self.weights[0].columns or self.out.width // heads < self.weights[0].rows:
            yield f"its matrices are {sorted(shapes)}, not [{self.out.width // heads}x{self.x.width}]"

    def describe(self) -> str:
        """The matrices."""
        return f"{len(self.weights)} heads, the first {self.weights[0]}"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens, width], zeros where nothing is written."""
        heads = x.reshape(-1, len(self.weights), x.shape[1])
        out = np.zeros((len(heads), len(self.weights), self.out.width // len(self.weights)), x.dtype)
        for head, weight in enumerate(self.weights):
            out[:, head, : weight.rows] = heads[:, head] @ at.matrix(weight.name).T
        return out.reshape(len(heads), -1)
