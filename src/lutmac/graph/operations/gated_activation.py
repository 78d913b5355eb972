"""Gated activations (Shazeer, 2020, https://arxiv.org/abs/2002.05202)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value
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
        if not self.gate.width == self.up.width == self.out.width:
            yield f"it makes {self.out.width} floats of {self.gate.width} and {self.up.width}"

    def describe(self) -> str:
        """Which one."""
        return f"{self.kind}(gate) · up"

    def reference(self, at: Reference, gate: Floats, up: Floats) -> Floats:
        """[rows, width]."""
        return activate(self.kind, gate) * up
