"""Gated short convolutions (LFM2, Liquid AI, 2025, https://arxiv.org/abs/2511.23404)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector
from lutmac.graph.states import Slot


@dataclass(frozen=True)
class ShortConv(Op):
    """``out = c * conv(b * x)`` of x in three parts b, c, x; conv is causal, over ``kernel`` positions of each channel.

    weight: [channels, kernel], the newest position last. state: the last inputs of the convolution, kernel - 1 of them.
    """

    state: Slot
    x: Value
    weight: Vector
    out: Value
    kernel: int
    bias: Vector | None = None
    READS = ("x",)
    WRITES = ("out",)
    STORES = ("state",)

    @staticmethod
    def slot_bytes(channels: int, kernel: int) -> int:
        """What it keeps of a sequence."""
        return -(-channels * (kernel - 1) * 4 // 64) * 64

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the channels."""
        width = self.out.width
        if (self.x.width, self.weight.width) != (3 * width, self.kernel * width):
            yield f"{width} channels are made of {self.x.width} by {self.weight.width} weights"
        if self.state.nbytes != self.slot_bytes(width, self.kernel):
            yield f"its slot has {self.state.nbytes} bytes"

    def describe(self) -> str:
        """The weight."""
        return f"{self.weight} over {self.kernel} positions"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens, channels]."""
        count, length = at.tokens.shape
        b, c, inner = np.split(x.reshape(count, length, -1), 3, axis=-1)
        weight = at.vector(self.weight.name).reshape(-1, self.kernel)
        padded = np.pad(b * inner, ((0, 0), (self.kernel - 1, 0), (0, 0)))
        summed = sum(padded[:, j : j + length] * weight[:, j] for j in range(self.kernel))
        if self.bias is not None:
            summed = summed + at.vector(self.bias.name)
        out: Floats = (c * summed).reshape(count * length, -1)
        return out
