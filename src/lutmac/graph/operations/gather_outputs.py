"""The rows that somebody wants results of."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class GatherOutputs(Op):
    """The rows of x that want logits."""

    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)

    def reference(self, at: Reference, x: Floats) -> Floats:
        """All rows."""
        return x
