"""The router of a mixture of experts (Shazeer et al., 2017, https://arxiv.org/abs/1701.06538).

A token that goes to k experts has k rows, and the rows of one expert lie together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector

ExpertScores = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Route(Op):
    """Sends each token to the ``per_token`` experts of the largest scores.

    scores: over the logits, softmax or sigmoid. bias: is added to the scores for the selection alone; with groups, only
    the experts of ``top_groups`` of them count, whose ``group_scores`` largest (biased) scores have the largest sums (2
    in DeepSeek-V3, https://arxiv.org/abs/2412.19437; 1 in DeepSeek-V2). Weights are the scores, with normalize divided
    by the sum of those chosen, times scale and, where there are expert_scales, that of the expert.
    choices: for each token its experts, their weights, and its row with each of them (3 * per_token wide).
    starts: one row, 2 * experts + 1 wide: the first row of each expert of generated tokens, then of each of prompts,
    and the end of the last. So rows of one expert lie together, and all of generated tokens before those of prompts.
    """

    logits: Value
    choices: Value
    starts: Value
    per_token: int
    normalize: bool
    scores: ExpertScores = "softmax"
    scale: float = 1.0
    bias: Vector | None = None
    groups: int = 1
    top_groups: int = 1
    expert_scales: Vector | None = None
    group_scores: int = 2
    READS = ("logits",)
    WRITES = ("choices", "starts")

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the choices, and more choices than there are."""
        experts = self.logits.width
        if (self.choices.width, self.starts.width) != (3 * self.per_token, 2 * experts + 1):
            yield f"{self.per_token} of {experts} experts have other widths"
        for vector in self.vectors():
            if vector.width != experts:
                yield f"{vector} is not {experts} wide"
        if experts % self.groups or self.per_token > experts // self.groups * self.top_groups:
            yield f"{self.per_token} of {experts} experts are not in {self.top_groups} of {self.groups} groups"

    def describe(self) -> str:
        """How many."""
        groups = f" in {self.top_groups} of {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{self.per_token} of {self.logits.width} experts{groups}, {self.scores} over "
            f"{'the chosen' if self.normalize else 'all'}{' + bias' if self.bias else ''}"
        )

    def reference(self, at: Reference, logits: Floats) -> tuple[Floats, Floats]:
        """Choices [tokens, 3 * per_token] and starts [1, 2 * experts + 1], all tokens being generated ones."""
        scores = self._scores(logits)
        keys = scores if self.bias is None else scores + at.vector(self.bias.name)
        experts = np.argsort(-self._of_groups(keys), axis=1, kind="stable")[:, : self.per_token]
        chosen = np.take_along_axis(scores, experts, axis=1)
        if self.normalize:
            chosen = chosen / chosen.sum(axis=1, keepdims=True)
        chosen = chosen * np.float32(self.scale)
        if self.expert_scales is not None:
            chosen = chosen * at.vector(self.expert_scales.name)[experts]
        order = np.argsort(experts.reshape(-1), kind="stable")
        rows = np.empty(experts.size, np.float32)
        rows[order] = np.arange(experts.size)
        counts = np.bincount(experts.reshape(-1), minlength=2 * logits.shape[1])
        choices = np.concatenate([experts, chosen, rows.reshape(experts.shape)], axis=1)
        return choices, np.concatenate([[0], np.cumsum(counts)])[None]

    def _scores(self, logits: Floats) -> Floats:
        if self.scores == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)

    def _of_groups(self, keys: Floats) -> Floats:
        """Keys, -inf outside of the groups that count."""
        if self.groups == self.top_groups:
            return keys
        grouped = keys.reshape(len(keys), self.groups, -1)
        sums = np.sort(grouped, axis=2)[:, :, -self.group_scores :].sum(axis=2)
        best = np.argsort(-sums, axis=1, kind="stable")[:, : self.top_groups]
        open_groups = np.zeros(sums.shape, bool)
        np.put_along_axis(open_groups, best, True, axis=1)
        return np.where(open_groups[:, :, None], grouped, np.float32(-np.inf)).reshape(keys.shape)
