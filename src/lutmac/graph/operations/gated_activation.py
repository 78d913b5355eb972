"""Gated activations (Shazeer, 2020, https://arxiv.org/abs/2002.05202)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths
from lutmac.graph.operations.activation import ActivationKind, activate


@dataclass(frozen=True)
class GatedActivation(Op):
    """``activation(gate) * up``. A pass makes it of an Activation and a Multiply."""

    kind: ActivationKind
    gate: Value
    up: Value
    out: Value
    READS = ("gate", "up")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of other widths."""
        yield from unequal_widths(self.out, self.gate, self.up)

    def describe(self) -> str:
        """Which one."""
        return f"{self.kind}(gate) · up"

    def reference(self, at: Reference, gate: Floats, up: Floats) -> Floats:
        """[rows, width]."""
        return activate(self.kind, gate) * up
