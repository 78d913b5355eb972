"""The signed, blockwise Walsh-Hadamard transform (QuIP#, Tseng et al., 2024, https://arxiv.org/abs/2402.04396)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True, eq=False)
class BlockHadamard:
    """``H`` of Sylvester's order (natural), ``block_size`` wide and over its square root, for each block of a row.

    signs: [width] float32 of 1 and -1, None for all 1. Equal only to itself: all rows of a width share one.
    """

    block_size: int
    signs: Floats | None


@dataclass(frozen=True)
class Hadamard(Op):
    """``H (signs * x)``, what a matrix reads that was rotated; inverse: ``signs * (H x)``, which undoes it."""

    rotation: BlockHadamard
    x: Value
    out: Value
    inverse: bool = False
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width, or that are not blocks."""
        size, signs = self.rotation.block_size, self.rotation.signs
        if self.x.width != self.out.width or self.x.width % size or size & (size - 1):
            yield f"it turns {self.x.width} floats in blocks of {size} to {self.out.width}"
        if signs is not None and len(signs) != self.x.width:
            yield f"it has {len(signs)} signs for {self.x.width} floats"

    def describe(self) -> str:
        """The blocks."""
        return f"blocks of {self.rotation.block_size}{'' if self.rotation.signs is None else ', signs'}"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        size, signs = self.rotation.block_size, self.rotation.signs
        turned = x if signs is None or self.inverse else x * signs
        turned = turned.reshape(-1, size) * np.asarray(size**-0.5, x.dtype)
        stride = 1
        while stride < size:
            pairs = turned.reshape(len(turned), -1, 2, stride)
            turned = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
            turned, stride = turned.reshape(-1, size), 2 * stride
        out: Floats = turned.reshape(x.shape)
        return out * signs if self.inverse and signs is not None else out
