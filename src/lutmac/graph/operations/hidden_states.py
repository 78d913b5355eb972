"""Final hidden states for the caller."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class HiddenStates(Op):
    """x into the caller's array, for the rows that want outputs. A pass puts it before Logits where it is missing."""

    x: Value
    READS = ("x",)

    def reference(self, at: Reference, x: Floats) -> tuple[()]:
        """Nothing that an operation reads."""
        return ()
