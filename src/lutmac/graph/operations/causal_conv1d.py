"""Causal convolutions of each channel, with SiLU (Mamba; Gu and Dao, 2023, https://arxiv.org/abs/2312.00752)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutmac.graph.convolution import CausalConvolution
from lutmac.graph.ir import Floats, Reference
from lutmac.graph.operations.activation import activate


@dataclass(frozen=True)
class CausalConv1d(CausalConvolution):
    """``out = silu(conv(x) + bias)``."""

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the channels."""
        width = self.x.width
        if (self.out.width, self.weight.width) != (width, self.kernel * width):
            yield f"{width} channels become {self.out.width} by {self.weight.width} weights"
        yield from self.slot_faults(width)

    def describe(self) -> str:
        """The weight."""
        return f"{self.weight} over {self.kernel} positions, silu"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens, channels]."""
        count, length = at.tokens.shape
        return activate("silu", self.convolved(at, x.reshape(count, length, -1)).reshape(count * length, -1))
