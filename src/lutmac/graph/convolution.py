"""What operations share that convolve the last positions of each channel; native/ops/kept_rows.h is its other half."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector
from lutmac.graph.states import Slot


@dataclass(frozen=True)
class CausalConvolution(Op):
    """A convolution over the last ``kernel`` positions of each channel.

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

    def slot_faults(self, channels: int) -> Iterator[str]:
        """A slot of another size."""
        if self.state.nbytes != self.slot_bytes(channels, self.kernel):
            yield f"its slot has {self.state.nbytes} bytes"

    def convolved(self, at: Reference, inputs: Floats) -> Floats:
        """The reference, of inputs [sequences, length, channels] and as large."""
        length = inputs.shape[1]
        weight = at.vector(self.weight.name).reshape(-1, self.kernel)
        padded = np.pad(inputs, ((0, 0), (self.kernel - 1, 0), (0, 0)))
        summed = sum(padded[:, j : j + length] * weight[:, j] for j in range(self.kernel))
        if self.bias is not None:
            summed = summed + at.vector(self.bias.name)
        return np.asarray(summed)
