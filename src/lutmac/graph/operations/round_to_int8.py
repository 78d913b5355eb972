"""Activations as int8, as BitNet defines them (Ma et al., 2024, https://arxiv.org/abs/2402.17764)."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.graph.ir import Floats, Op, Reference, Value


@dataclass(frozen=True)
class RoundToInt8(Op):
    """x as int8 with one scale per row would have it: what BitNet's products read. Default precision does without."""

    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True
    IDEAL = True

    def reference(self, at: Reference, x: Floats) -> Floats:
        """x: what the model was trained with, and calibration does without."""
        return x
