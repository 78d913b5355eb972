"""The rotation of queries and keys, and the store of keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.graph.states import Pages


@dataclass(frozen=True)
class RopeStore(Op):
    """Rotates q (out takes over q's buffer) and k by the angles of their positions, and keeps k and v.

    angles: what RopeAngles makes; None: nothing is rotated.
    """

    cache: Pages
    q: Value
    k: Value
    v: Value
    out: Value
    num_heads: int
    angles: Value | None = None
    style: RopeStyle = "half_split"
    READS = ("q", "k", "v", "angles")
    WRITES = ("out",)
    IN_PLACE = {"out": "q"}  # noqa: RUF012 (typed in the base class)
    STORES = ("cache",)
    BY_KEY_HEADS = True

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the heads."""
        cache, width = self.cache, self.num_heads * self.cache.head_dim
        kept = cache.num_kv_heads * cache.head_dim, cache.num_kv_heads * cache.value_dim
        if (self.q.width, self.out.width, self.k.width, self.v.width) != (width, width, *kept):
            yield f"{self.num_heads} heads over {cache.num_kv_heads} of {cache.head_dim} have other widths"

    def describe(self) -> str:
        """What is rotated."""
        turned = f"{self.style.replace('_', ' ')} over {self.angles.width}" if self.angles else "none"
        return f"{turned} of {self.cache.head_dim}; k and v to the cache"

    def reference(self, at: Reference, q: Floats, k: Floats, v: Floats, angles: Floats | None = None) -> Floats:
        """Rotated queries; keys and values are kept [sequences, length, heads, size of a head]."""
        count, length = at.tokens.shape
        heads = [
            x.reshape(count, length, heads, -1)
            for x, heads in ((q, self.num_heads), *((x, self.cache.num_kv_heads) for x in (k, v)))
        ]
        turned = None if angles is None else angles.reshape(count, length, 1, -1)
        at.kept[self.cache.name] = rotate(self.style, turned, heads[1]), heads[2]
        return rotate(self.style, turned, heads[0]).reshape(q.shape)


def rotate(style: RopeStyle, angles: Floats | None, heads: Floats) -> Floats:
    """Heads [sequences, length, heads, size], turned by angles [sequences, length, 1, rotary_dim]."""
    if angles is None:
        return heads
    rotary_dim = angles.shape[-1]
    half = rotary_dim // 2
    cosine, sine = angles[..., :half], angles[..., half:]
    split = style == "half_split"
    first = np.s_[..., :half] if split else np.s_[..., 0:rotary_dim:2]
    second = np.s_[..., half:rotary_dim] if split else np.s_[..., 1:rotary_dim:2]
    out = heads.copy()
    a, b = heads[first], heads[second]
    out[first], out[second] = a * cosine - b * sine, b * cosine + a * sine
    return out
