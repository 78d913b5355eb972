"""What experts make of a token, added up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class ExpertSum(Op):
    """For each token the sum of its experts' rows times their weights; see route.py."""

    x: Value
    choices: Value
    out: Value
    READS = ("x", "choices")
    WRITES = ("out",)
    ADDS = True

    def reference(self, at: Reference, x: Floats, choices: Floats) -> Floats:
        """[tokens, width]."""
        _, shares, rows = np.split(choices, 3, axis=1)
        out: Floats = (x[rows.astype(int)] * shares[:, :, None]).sum(axis=1)
        return out
