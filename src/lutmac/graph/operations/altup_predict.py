"""AltUp's prediction of each stream from all of them (Baykal et al., 2023, https://arxiv.org/abs/2301.13310)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class AltupPredict(Op):
    """Of n streams side by side, each plus a sum of all: ``out[j] = x[j] + sum_i c[j * n + i] x[i]``.

    c is ``coefficients @ tanh(scale * routed)``. routed: n floats of the router. coefficients: [n * n, n].
    """

    x: Value
    routed: Value
    coefficients: Vector
    out: Value
    scale: float
    READS = ("x", "routed")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Widths that are not those of as many streams."""
        streams = self.routed.width
        if self.x.width != self.out.width or self.x.width % streams or self.coefficients.width != streams**3:
            yield f"it makes {self.out.width} floats of {self.x.width}, {streams} streams, by {self.coefficients}"

    def describe(self) -> str:
        """How many streams."""
        return f"{self.routed.width} streams, {self.coefficients}"

    def reference(self, at: Reference, x: Floats, routed: Floats) -> Floats:
        """[rows, width]."""
        streams = routed.shape[1]
        matrix = at.vector(self.coefficients.name).reshape(-1, streams)
        mixed = (np.tanh(np.float32(self.scale) * routed) @ matrix.T).reshape(-1, streams, streams)
        return np.asarray(x + (mixed @ x.reshape(len(x), streams, -1)).reshape(x.shape), np.float32)
