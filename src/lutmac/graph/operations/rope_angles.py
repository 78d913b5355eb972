"""The angles of rotary position embeddings (Su et al., 2021, https://arxiv.org/abs/2104.09864)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value

RopeStyle = Literal["half_split", "interleaved"]


@dataclass(frozen=True)
class Rope:
    """Rotary embedding of the first ``rotary_dim`` of each head.

    style: "half_split" pairs (i, i + rotary_dim / 2), "interleaved" pairs (2i, 2i + 1).
    inverse_frequency: [rotary_dim / 2], scaling included. attention_factor multiplies cosine and sine.
    """

    style: RopeStyle
    rotary_dim: int
    inverse_frequency: tuple[float, ...]
    attention_factor: float = 1.0


@dataclass(frozen=True)
class RopeAngles(Op):
    """Cosines, then sines, of every token's angles: position times inverse frequency. Layers of one rope share them."""

    rope: Rope
    out: Value
    WRITES = ("out",)

    def faults(self) -> Iterator[str]:
        """A width that is not the rope's."""
        if not self.out.width == self.rope.rotary_dim == 2 * len(self.rope.inverse_frequency):
            yield f"{self.rope.rotary_dim} dimensions turn by {len(self.rope.inverse_frequency)} frequencies"

    def describe(self) -> str:
        """What they are of."""
        return f"the angles of {self.rope.rotary_dim // 2} pairs"

    def reference(self, at: Reference) -> Floats:
        """[tokens, rotary_dim]."""
        count, length = at.tokens.shape
        angles = np.arange(length)[:, None] * np.array(self.rope.inverse_frequency)
        both = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * self.rope.attention_factor
        return np.tile(both.astype(np.float32), (count, 1))
