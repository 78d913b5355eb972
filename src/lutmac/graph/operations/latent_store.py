"""The rotation of queries and keys, and the store of latents (DeepSeek-V2, https://arxiv.org/abs/2405.04434)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.graph.operations.rope_store import rotate
from lutmac.graph.states import Pages


@dataclass(frozen=True)
class LatentStore(Op):
    """Keeps a token's latent, and completes the queries that meet it.

    A latent is ``normed`` and behind it the last part of ``key``, turned by the angles of its position. q has a query
    for each head as wide as a latent, whose last part becomes that of the head in ``heads``, turned likewise (out
    takes over q's buffer). angles: what RopeAngles makes; None: nothing is turned.
    """

    cache: Pages
    q: Value
    heads: Value
    normed: Value
    key: Value
    out: Value
    num_heads: int
    angles: Value | None = None
    style: RopeStyle = "half_split"
    READS = ("q", "heads", "normed", "key", "angles")
    WRITES = ("out",)
    IN_PLACE = {"out": "q"}  # noqa: RUF012 (typed in the base class)
    STORES = ("cache",)

    @property
    def turned(self) -> int:
        """Width of the part that turns."""
        return self.cache.head_dim - self.cache.value_dim

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the heads and of the latent."""
        cache, size = self.cache, self.heads.width // self.num_heads
        if not cache.latent or cache.num_kv_heads != 1 or self.turned <= 0:
            yield f"{cache.name} does not keep latents"
        widths = self.num_heads * cache.head_dim, self.num_heads * size, cache.value_dim, cache.head_dim
        if (self.q.width, self.heads.width, self.normed.width, self.key.width) != widths or size < self.turned:
            yield f"{self.num_heads} heads over latents of {cache.head_dim} have other widths"
        if self.angles is not None and self.angles.width != self.turned:
            yield f"{self.angles.width} dimensions turn of {self.turned}"

    def describe(self) -> str:
        """What is rotated."""
        turned = f"{self.style.replace('_', ' ')} over the last {self.turned}" if self.angles else "none"
        return f"{turned} of {self.cache.head_dim}; the latent to the cache"

    def reference(
        self, at: Reference, q: Floats, heads: Floats, normed: Floats, key: Floats, angles: Floats | None = None
    ) -> Floats:
        """Whole queries [tokens, width]; latents are kept [sequences, length, 1, size]."""
        count, length = at.tokens.shape
        rank = self.cache.value_dim
        angles = None if angles is None else angles.reshape(count, length, 1, -1)
        of_heads = heads.reshape(count, length, self.num_heads, -1)[..., -self.turned :]
        queries = q.reshape(count, length, self.num_heads, -1).copy()
        queries[..., rank:] = rotate(self.style, angles, of_heads)
        values = normed.reshape(count, length, 1, -1)
        turned = rotate(self.style, angles, key[:, rank:].reshape(count, length, 1, -1))
        at.kept[self.cache.name] = np.concatenate([values, turned], axis=-1), values
        return queries.reshape(q.shape)
