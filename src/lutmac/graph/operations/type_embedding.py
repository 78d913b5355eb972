"""Which text of a pair a token is of (Devlin et al., 2018, https://arxiv.org/abs/1810.04805)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value, Weight, unequal_columns


@dataclass(frozen=True)
class TypeEmbedding(Op):
    """Rows of a matrix for the tokens' types: 0, and for the second text of a pair 1.

    Row 0 for types that it has no row for: models of one type read pairs, too.
    """

    weight: Weight
    out: Value
    WRITES = ("out",)
    LOOKS_UP = True
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Another width than the matrix's."""
        yield from unequal_columns(self.weight, self.out)

    def describe(self) -> str:
        """The matrix."""
        return str(self.weight)

    def reference(self, at: Reference) -> Floats:
        """[tokens, width], of type 0."""
        return at.matrix(self.weight.name)[[0] * at.tokens.size]
