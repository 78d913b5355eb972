"""The operations of mixtures of experts (Shazeer et al., 2017); see ir.py.

A token that goes to k experts has k rows, and the rows of one expert lie together.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.graph.ir import Op, Value, Weight


@dataclass(frozen=True)
class Route(Op):
    """Sends each token to the ``per_token`` experts of the largest logits (Shazeer et al., 2017).

    Weights are the softmax over all experts, or with normalize over those chosen. choices: for each token its experts,
    their weights, and its row with each of them (3 * per_token wide). starts: one row, the first row of each expert and
    the end of the last: rows of one expert lie together.
    """

    logits: Value
    choices: Value
    starts: Value
    per_token: int
    normalize: bool
    READS = ("logits",)
    WRITES = ("choices", "starts")


@dataclass(frozen=True)
class ExpertGather(Op):
    """The row of each token, copied to all rows that it has with experts."""

    x: Value
    choices: Value
    out: Value
    READS = ("x", "choices")
    WRITES = ("out",)


@dataclass(frozen=True)
class ExpertMatMul(Op):
    """``out = weights[e] @ x`` for the rows of each expert e."""

    weights: tuple[Weight, ...]
    x: Value
    starts: Value
    out: Value
    READS = ("x", "starts")
    WRITES = ("out",)

    def matrices(self) -> tuple[Weight, ...]:
        """Those of all experts."""
        return self.weights


@dataclass(frozen=True)
class ExpertSum(Op):
    """For each token the sum of its experts' rows times their weights. With a residual, out takes over its buffer."""

    x: Value
    choices: Value
    out: Value
    residual: Value | None = None
    READS = ("x", "choices", "residual")
    WRITES = ("out",)
