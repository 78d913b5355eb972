"""A value as long as another (AltUp: Baykal et al., 2023, https://arxiv.org/abs/2301.13310)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths


@dataclass(frozen=True)
class MatchMagnitude(Op):
    """``x * rms(like) / sqrt(max(mean(x^2), least))``, row by row."""

    x: Value
    like: Value
    out: Value
    least: float = 1e-5
    READS = ("x", "like")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of other widths."""
        yield from unequal_widths(self.out, self.x, self.like)

    def reference(self, at: Reference, x: Floats, like: Floats) -> Floats:
        """[rows, width]."""
        own, wanted = (np.square(rows).mean(axis=1, keepdims=True) for rows in (x, like))
        return np.asarray(x * np.sqrt(wanted) / np.sqrt(np.maximum(own, np.float32(self.least))), np.float32)
