"""Attention in both directions, without a cache (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class BidirectionalAttention(Op):
    """Each token attends to all tokens of its sequence, or to those at most ``reach`` positions away (0: all).

    Nothing is kept, so that a step holds whole sequences.
    """

    q: Value
    k: Value
    v: Value
    out: Value
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scale: float
    reach: int = 0
    READS = ("q", "k", "v")
    WRITES = ("out",)

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the heads."""
        width, kv_width = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        if (self.q.width, self.out.width, self.k.width, self.v.width) != (width, width, kv_width, kv_width):
            yield f"{self.num_heads} heads over {self.num_kv_heads} of {self.head_dim} have other widths"
        if self.num_heads % self.num_kv_heads:
            yield f"{self.num_heads} heads are no multiple of {self.num_kv_heads}"

    def describe(self) -> str:
        """The heads."""
        reach = f", {self.reach} positions to each side" if self.reach else ""
        return f"{self.num_heads} heads over {self.num_kv_heads} of {self.head_dim}{reach}"

    def reference(self, at: Reference, q: Floats, k: Floats, v: Floats) -> Floats:
        """[tokens, width]."""
        count, length = at.tokens.shape
        queries = q.reshape(count, length, self.num_heads, -1)
        keys, values = (x.reshape(count, length, self.num_kv_heads, -1) for x in (k, v))
        away = np.abs(np.arange(length)[:, None] - np.arange(length)[None, :])
        seen = away <= (self.reach or length)
        group = self.num_heads // self.num_kv_heads
        out = np.empty_like(queries)
        for sequence in range(count):
            for head in range(self.num_heads):
                scores = queries[sequence, :, head] @ keys[sequence, :, head // group].T * np.float32(self.scale)
                scores = np.where(seen, scores, np.float32(-np.inf))
                shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
                shares /= shares.sum(axis=-1, keepdims=True)
                out[sequence, :, head] = shares @ values[sequence, :, head // group]
        return out.reshape(q.shape)
