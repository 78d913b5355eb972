"""Gated short convolutions (LFM2, Liquid AI, 2025, https://arxiv.org/abs/2511.23404)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.convolution import CausalConvolution
from lutmac.graph.ir import Floats, Reference


@dataclass(frozen=True)
class ShortConv(CausalConvolution):
    """``out = c * conv(b * x)`` of x in three parts b, c, x."""

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the channels."""
        width = self.out.width
        if (self.x.width, self.weight.width) != (3 * width, self.kernel * width):
            yield f"{width} channels are made of {self.x.width} by {self.weight.width} weights"
        yield from self.slot_faults(width)

    def describe(self) -> str:
        """The weight."""
        return f"{self.weight} over {self.kernel} positions"

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[tokens, channels]."""
        count, length = at.tokens.shape
        b, c, inner = np.split(x.reshape(count, length, -1), 3, axis=-1)
        out: Floats = (c * self.convolved(at, b * inner)).reshape(count * length, -1)
        return out
