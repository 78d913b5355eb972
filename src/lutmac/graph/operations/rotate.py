"""The rotation of heads that go through something else before they are kept (Su et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.graph.operations.rope_store import rotate


@dataclass(frozen=True)
class Rotate(Op):
    """Each head of x, ``head_dim`` wide, turned by the angles of its position, which RopeAngles makes."""

    x: Value
    angles: Value
    out: Value
    head_dim: int
    style: RopeStyle = "half_split"
    READS = ("x", "angles")
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows that are not whole heads, or more angles than a head has dimensions."""
        if self.x.width != self.out.width or self.x.width % self.head_dim or self.angles.width > self.head_dim:
            yield f"{self.x.width} floats are not heads of {self.head_dim}, of which {self.angles.width} are rotated"

    def describe(self) -> str:
        """What is rotated."""
        return f"{self.style.replace('_', ' ')} over {self.angles.width} of {self.head_dim}"

    def reference(self, at: Reference, x: Floats, angles: Floats) -> Floats:
        """[rows, width]."""
        count, length = at.tokens.shape
        heads = x.reshape(count, length, -1, self.head_dim)
        return rotate(self.style, angles.reshape(count, length, 1, -1), heads).reshape(x.shape)
