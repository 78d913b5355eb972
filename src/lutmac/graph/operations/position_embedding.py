"""Learned positions (Devlin et al., 2018, https://arxiv.org/abs/1810.04805)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight, unequal_columns


@dataclass(frozen=True)
class PositionEmbedding(Op):
    """Rows of a matrix for the tokens' positions; ``first`` is the row of position 0."""

    weight: Weight
    out: Value
    first: int = 0
    WRITES = ("out",)
    LOOKS_UP = True
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Another width than the matrix's."""
        yield from unequal_columns(self.weight, self.out)

    def describe(self) -> str:
        """The matrix."""
        return f"{self.weight}{f' from row {self.first} on' if self.first else ''}"

    def reference(self, at: Reference) -> Floats:
        """[tokens, width]."""
        count, length = at.tokens.shape
        return np.tile(at.matrix(self.weight.name)[self.first : self.first + length], (count, 1))
