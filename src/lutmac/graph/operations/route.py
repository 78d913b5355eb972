"""The router of a mixture of experts (Shazeer et al., 2017, https://arxiv.org/abs/1701.06538).

A token that goes to k experts has k rows, and the rows of one expert lie together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class Route(Op):
    """Sends each token to the ``per_token`` experts of the largest logits.

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

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the choices."""
        if (self.choices.width, self.starts.width) != (3 * self.per_token, self.logits.width + 1):
            yield f"{self.per_token} of {self.logits.width} experts have other widths"

    def describe(self) -> str:
        """How many."""
        return (
            f"{self.per_token} of {self.logits.width} experts, softmax over {'the chosen' if self.normalize else 'all'}"
        )

    def reference(self, at: Reference, logits: Floats) -> tuple[Floats, Floats]:
        """Choices [tokens, 3 * per_token] and starts [1, experts + 1]."""
        experts = np.argsort(-logits, axis=1, kind="stable")[:, : self.per_token]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        total = np.take_along_axis(shares, experts, axis=1) if self.normalize else shares
        chosen = np.take_along_axis(shares, experts, axis=1) / total.sum(axis=1, keepdims=True)
        order = np.argsort(experts.reshape(-1), kind="stable")
        rows = np.empty(experts.size, np.float32)
        rows[order] = np.arange(experts.size)
        counts = np.bincount(experts.reshape(-1), minlength=logits.shape[1])
        choices = np.concatenate([experts, chosen, rows.reshape(experts.shape)], axis=1)
        return choices, np.concatenate([[0], np.cumsum(counts)])[None]
