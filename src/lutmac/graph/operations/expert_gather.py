"""The rows that experts work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class ExpertGather(Op):
    """The row of each token, copied to all rows that it has with experts; see route.py."""

    x: Value
    choices: Value
    out: Value
    READS = ("x", "choices")
    WRITES = ("out",)
    MOVES = ("x", "out")

    def reference(self, at: Reference, x: Floats, choices: Floats) -> Floats:
        """[tokens * per_token, width]."""
        rows = choices[:, 2 * self.out.per_token :].astype(int)
        gathered = np.empty((rows.size, x.shape[1]), x.dtype)
        gathered[rows] = x[:, None, :]
        return gathered
