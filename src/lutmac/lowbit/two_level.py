"""Scales and offsets as small integers under a float16 for some groups together, as GGUF's K-quants have them.

Layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. The float16 is chosen from the levels that
groups would have for themselves: the largest of them gets the largest integer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac.lowbit.fitting import fit
from lutmac.lowbit.formats import AsymmetricIntegers, Floats, Format, Levels, SymmetricIntegers
from lutmac.lowbit.matrix import TwoLevel

SUPER_BLOCK: Final = 256  # weights under one float16


@dataclass(frozen=True)
class KQuant:
    """A K-quant. scales: the least and the largest integer of a scale. offsets: the largest of an offset, 0 without."""

    bits: int
    group_size: int
    scales: tuple[int, int]
    offsets: int = 0

    @property
    def format(self) -> Format:
        """Of the codes."""
        if self.offsets:
            return AsymmetricIntegers(self.bits, negative_offset=True)
        return SymmetricIntegers(self.bits)


K_QUANTS: Final = {
    "Q2_K": KQuant(2, 16, (0, 15), 15),
    "Q3_K": KQuant(3, 16, (-32, 31)),
    "Q4_K": KQuant(4, 32, (0, 63), 63),
    "Q5_K": KQuant(5, 32, (0, 63), 63),
    "Q6_K": KQuant(6, 16, (-128, 127)),
}


@dataclass(frozen=True)
class TwoLevelScales:
    """The float16 of the groups of a matrix; see rounding.Scales.

    scale, offset: [M, S], the latter not above 0, None where the K-quant has none.
    """

    kind: KQuant
    scale: Floats
    offset: Floats | None

    def stored(self, group: int) -> Callable[[Levels], Levels]:
        """Levels to integers times the float16 of the group."""
        place = group * self.kind.group_size // SUPER_BLOCK
        scale, offset = self.scale[:, place], None if self.offset is None else self.offset[:, place]

        def nearest(levels: Levels) -> Levels:
            if offset is None or levels.offset is None:
                return Levels(_integers(levels.scale, scale, *self.kind.scales) * scale)
            kept = _integers(levels.offset, offset, 0, self.kind.offsets) * offset
            return Levels(_integers(levels.scale, scale, *self.kind.scales) * scale, kept)

        return nearest

    def parameters(self, fitted: list[Levels]) -> tuple[TwoLevel, TwoLevel | None]:
        """Scales and offsets of a matrix."""
        scales = self._two_level([levels.scale for levels in fitted], self.scale, *self.kind.scales)
        if self.offset is None:
            return scales, None
        offsets = [levels.offset for levels in fitted if levels.offset is not None]
        return scales, self._two_level(offsets, self.offset, 0, self.kind.offsets)

    def _two_level(self, values: list[Floats], supers: Floats, low: int, high: int) -> TwoLevel:
        groups = SUPER_BLOCK // self.kind.group_size
        stacked = np.stack(values, axis=1)
        integers = _integers(stacked, np.repeat(supers, groups, axis=1)[:, : stacked.shape[1]], low, high)
        return TwoLevel(integers.astype(np.int8), supers.astype(np.float16), groups)


def two_level_scales(kind: KQuant, w: Floats, importance: Floats | None = None) -> TwoLevelScales:
    """For weights [M, K]; K is a multiple of 256."""
    size, format = kind.group_size, kind.format
    fitted = [
        fit(format, w[:, start : start + size], None if importance is None else importance[start : start + size])
        for start in range(0, w.shape[1], size)
    ]
    shape = (len(w), -1, SUPER_BLOCK // size)
    scales = np.stack([levels.scale for levels in fitted], axis=1).reshape(shape)
    low, high = kind.scales
    # Where integers have a sign, the largest magnitude gets the lowest, which reaches furthest.
    largest = np.take_along_axis(scales, np.abs(scales).argmax(axis=2)[..., None], axis=2)[..., 0]
    scale = _as_half(largest / np.float32(low or high))
    if not kind.offsets:
        return TwoLevelScales(kind, scale, None)
    offsets = np.stack([levels.offset for levels in fitted if levels.offset is not None], axis=1).reshape(shape)
    return TwoLevelScales(kind, scale, _as_half(np.minimum(offsets.min(axis=2), 0) / np.float32(kind.offsets)))


def _as_half(values: Floats) -> Floats:
    return values.astype(np.float16).astype(np.float32)


def _integers(values: Floats, unit: Floats, low: int, high: int) -> NDArray[np.float32]:
    parts = np.divide(values, unit, out=np.zeros_like(values), where=unit != 0)
    return np.clip(np.rint(parts), low, high)
