"""LayerNorm (Ba et al., 2016, https://arxiv.org/abs/1607.06450)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector


@dataclass(frozen=True)
class LayerNorm(Op):
    """``(x - mean(x)) / sqrt(var(x) + eps) * weight (+ bias)``; the variance is that of the row, divided by its width.

    weights: one as wide as x; or several, each of which norms its own segment of x, such as a head. bias: as wide as x,
    or as a segment, to each of which it is added.
    """

    x: Value
    weights: tuple[Vector, ...]
    eps: float
    out: Value
    bias: Vector | None = None
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True
    ADDS = True

    def faults(self) -> Iterator[str]:
        """Widths that do not add up."""
        widths = {weight.width for weight in self.weights}
        width = sum(weight.width for weight in self.weights)
        if len(widths) != 1 or not width == self.x.width == self.out.width:
            yield f"it norms {self.x.width} floats in segments of {sorted(widths)} to {self.out.width}"
        if self.bias is not None and self.bias.width not in (self.x.width, self.weights[0].width):
            yield f"its bias is {self.bias.width} wide"

    def describe(self) -> str:
        """The weight."""
        segments = f" and {len(self.weights) - 1} more" if len(self.weights) > 1 else ""
        return f"{self.weights[0]}{segments}{' + bias' if self.bias else ''}, eps {self.eps:g}"

    def divided(self, at: Reference, divisor: Floats) -> Mapping[str, Floats] | None:
        """Another weight and bias, where there is one weight."""
        if len(self.weights) > 1:
            return None
        vectors = [self.weights[0], *([self.bias] if self.bias else [])]
        return {vector.name: at.vector(vector.name) / divisor for vector in vectors}

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        segments = x.reshape(len(x), len(self.weights), -1)
        centred = segments - segments.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normed: Floats = (centred / np.sqrt(variance + np.float32(self.eps))).reshape(x.shape)
        normed = normed * np.concatenate([at.vector(weight.name) for weight in self.weights])
        if self.bias is None:
            return normed
        bias = at.vector(self.bias.name)
        return np.asarray(normed + np.tile(bias, self.x.width // len(bias)), np.float32)
