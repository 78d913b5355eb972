"""The embedding lookup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight


@dataclass(frozen=True)
class Embed(Op):
    """Rows of the embedding matrix for the step's token ids, times ``scale``."""

    weight: Weight
    out: Value
    scale: float = 1.0
    WRITES = ("out",)

    def describe(self) -> str:
        """The matrix."""
        return str(self.weight)

    def reference(self, at: Reference) -> Floats:
        """[tokens, width]."""
        rows: Floats = at.matrix(self.weight.name)[at.tokens.reshape(-1)] * np.float32(self.scale)
        return rows
