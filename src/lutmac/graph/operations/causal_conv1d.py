"""Causal convolutions of each channel, with SiLU (Mamba; Gu and Dao, 2023, https://arxiv.org/abs/2312.00752)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector
from lutmac.graph.operations.activation import activate
from lutmac.graph.states import Slot


@dataclass(frozen=True)
class CausalConv1d(Op):
    """``out = silu(conv(x) + bias)``, over the last ``kernel`` positions of each channel.

    weight: [channels, kernel], the newest position last. state: the last inputs, kernel - 1 of them.
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
        width = self.x.width
        if (self.out.width, self.weight.width) != (width, self.kernel * width):
            yield f"{width} channels become {self.out.width} by {self.weight.width} weights"
        if self.state.nbytes != self.slot_bytes(width, self.kernel):
            yield f"its slot has {self.state.nbytes} bytes"

    def describe(self) -> str:
        """The weight."""
        return f"{self.weight} over {self.kernel} positions, silu"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens, channels]."""
        count, length = at.tokens.shape
        weight = at.vector(self.weight.name).reshape(-1, self.kernel)
        padded = np.pad(x.reshape(count, length, -1), ((0, 0), (self.kernel - 1, 0), (0, 0)))
        summed = sum(padded[:, j : j + length] * weight[:, j] for j in range(self.kernel))
        if self.bias is not None:
            summed = summed + at.vector(self.bias.name)
        return activate("silu", np.asarray(summed).reshape(count * length, -1))
