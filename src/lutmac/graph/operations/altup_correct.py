"""What changes AltUp's streams (Baykal et al., 2023, https://arxiv.org/abs/2301.13310)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class AltupCorrect(Op):
    """Of n streams side by side, each plus a share of one change: ``out[j] = x[j] + (1 + c[j]) * change``.

    c is ``coefficients @ tanh(scale * routed)``. routed: n floats of the router; None: all streams but the first get
    all of the change. coefficients: [n, n].
    """

    x: Value
    change: Value
    out: Value
    routed: Value | None = None
    coefficients: Vector | None = None
    scale: float = 1.0
    READS = ("x", "change", "routed")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Widths that are not those of as many streams."""
        streams, rest = divmod(self.x.width, self.change.width)
        if rest or self.x.width != self.out.width or (self.routed is None) != (self.coefficients is None):
            yield f"it makes {self.out.width} floats of {self.x.width} and {self.change.width}"
        elif (
            self.routed and self.coefficients and (self.routed.width, self.coefficients.width) != (streams, streams**2)
        ):
            yield f"{streams} streams are not routed by {self.routed.width} floats and {self.coefficients}"

    def describe(self) -> str:
        """By what."""
        return str(self.coefficients) if self.coefficients else "all but the first"

    def reference(self, at: Reference, x: Floats, change: Floats, routed: Floats | None = None) -> Floats:
        """[rows, width]."""
        streams = x.shape[1] // change.shape[1]
        factors = (np.arange(streams) > 0)[None].astype(np.float32)
        if routed is not None and self.coefficients is not None:
            matrix = at.vector(self.coefficients.name).reshape(streams, streams)
            factors = 1 + np.tanh(np.float32(self.scale) * routed) @ matrix.T
        return np.asarray(x + (factors[:, :, None] * change[:, None, :]).reshape(x.shape), np.float32)
