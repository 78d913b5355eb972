"""Activation sparsity of Gemma 3n: of a row's floats those are kept that are large among normal ones.

https://ai.google.dev/gemma/docs/gemma-3n
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths


@dataclass(frozen=True)
class GaussianTopK(Op):
    """``max(0, x - cutoff)``, the cutoff being ``mean(x) + deviations * std(x)`` of the row."""

    x: Value
    out: Value
    deviations: float
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width."""
        yield from unequal_widths(self.out, self.x)

    def describe(self) -> str:
        """The cutoff."""
        return f"above the mean by {self.deviations:.4g} deviations"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        cutoff = x.mean(axis=1, keepdims=True) + np.float32(self.deviations) * x.std(axis=1, keepdims=True)
        return np.asarray(np.maximum(x - cutoff, 0), np.float32)
