"""Gates that stand for more than one float each: of a head, or of a whole row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value
from lutmac.graph.operations.activation import ActivationKind, activate


@dataclass(frozen=True)
class GateSegments(Op):
    """``out[i] = x[i] * activation(gate[i // segment])``: x in as many equal segments as there are gates."""

    kind: ActivationKind
    x: Value
    gate: Value
    out: Value
    READS = ("x", "gate")
    WRITES = ("out",)
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or gates that do not divide them."""
        if self.x.width != self.out.width or self.x.width % self.gate.width:
            yield f"it makes {self.out.width} floats of {self.x.width} with {self.gate.width} gates"

    def describe(self) -> str:
        """The segments."""
        return f"x · {self.kind}(gate), segments of {self.x.width // self.gate.width}"

    def reference(self, at: Reference, x: Floats, gate: Floats) -> Floats:
        """[rows, width]."""
        factors = activate(self.kind, gate)
        return np.asarray(x * np.repeat(factors, self.x.width // self.gate.width, axis=1), np.float32)
