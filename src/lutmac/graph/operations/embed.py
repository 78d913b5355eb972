"""The embedding lookup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight


@dataclass(frozen=True)
class Embed(Op):
    """Rows of an embedding matrix for the step's token ids, times ``scale``; row 0 for ids that it has no row for.

    A vocabulary may be larger than a table beside the embedding: Gemma 3n's ids of images and sounds are in the latter.
    """

    weight: Weight
    out: Value
    scale: float = 1.0
    WRITES = ("out",)
    LOOKS_UP = True

    def describe(self) -> str:
        """The matrix."""
        return str(self.weight)

    def reference(self, at: Reference) -> Floats:
        """[tokens, width]."""
        matrix, tokens = at.matrix(self.weight.name), at.tokens.reshape(-1)
        rows: Floats = matrix[np.where(tokens < len(matrix), tokens, 0)] * np.float32(self.scale)
        return rows
