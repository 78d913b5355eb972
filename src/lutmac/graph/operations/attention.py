"""Causal attention over what is kept (Vaswani et al., 2017; grouped queries: Ainslie et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector
from lutmac.graph.states import Pages


@dataclass(frozen=True)
class Attention(Op):
    """Causal attention of q over kept keys and values: all positions, or those of the state's window.

    softcap: 0 for none, else scores become ``softcap * tanh(score / softcap)``. sinks: for each head a score that takes
    a share of the softmax and has no value (gpt-oss, https://arxiv.org/abs/2508.10925; after Xiao et al., 2023).
    """

    cache: Pages
    q: Value
    out: Value
    num_heads: int
    scale: float
    softcap: float = 0.0
    sinks: Vector | None = None
    READS = ("q",)
    WRITES = ("out",)
    BY_KEY_HEADS = True

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the heads."""
        widths = self.num_heads * self.cache.head_dim, self.num_heads * self.cache.value_dim
        if (self.q.width, self.out.width) != widths:
            yield f"{self.num_heads} heads of {self.cache.head_dim} are {self.q.width} and {self.out.width} wide"
        if self.num_heads % self.cache.num_kv_heads:
            yield f"{self.num_heads} heads are no multiple of {self.cache.num_kv_heads}"
        if self.sinks is not None and self.sinks.width != self.num_heads:
            yield f"there are {self.sinks.width} sinks for {self.num_heads} heads"

    def describe(self) -> str:
        """The heads."""
        window = f", window {self.cache.window}" if self.cache.window else ""
        sinks = ", sinks" if self.sinks else ""
        return f"{self.num_heads} heads over {self.cache.num_kv_heads} of {self.cache.head_dim}{window}{sinks}"

    def reference(self, at: Reference, q: Floats) -> Floats:
        """[tokens, width]."""
        count, length = at.tokens.shape
        keys, values = at.kept[self.cache.name]
        queries = q.reshape(count, length, self.num_heads, -1)
        out = np.empty((count, length, self.num_heads, values.shape[-1]), q.dtype)
        behind = np.arange(length)[:, None] - np.arange(length)[None, :]
        seen = (behind >= 0) & ((behind < self.cache.window) if self.cache.window else True)
        group = self.num_heads // self.cache.num_kv_heads
        for sequence in range(count):
            for head in range(self.num_heads):
                scores = queries[sequence, :, head] @ keys[sequence, :, head // group].T * np.float32(self.scale)
                if self.softcap:
                    scores = np.float32(self.softcap) * np.tanh(scores / np.float32(self.softcap))
                scores = np.where(seen, scores, np.float32(-np.inf))
                sink = np.float32(-np.inf if self.sinks is None else at.vector(self.sinks.name)[head])
                largest = np.maximum(scores.max(axis=-1, keepdims=True), sink)
                shares = np.exp(scores - largest)
                shares /= shares.sum(axis=-1, keepdims=True) + np.exp(sink - largest)
                out[sequence, :, head] = shares @ values[sequence, :, head // group]
        return out.reshape(count * length, -1)
