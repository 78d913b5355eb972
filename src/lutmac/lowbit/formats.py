"""Number formats of weights: which levels a group can have, and weights rounded to them.

A format works on columns of a matrix, [M, n] for M rows, with one scale (and one offset) for each row. What a code
stands for is linear in the two, which is what lutmac.lowbit.fitting builds on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

_TINY: Final = np.float32(1e-30)

# Magnitudes of floats by bits, the largest last: sign and E2M0 (3 bits; 0, 1, 2, 4), E2M1 (4 bits, OCP's FP4).
MAGNITUDES: Final = {3: (0.0, 1.0, 2.0, 4.0), 4: (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)}
# What a code of E2M1 stands for: the magnitudes, then those of negative floats.
E2M1: Final = (*MAGNITUDES[4], *(-value for value in MAGNITUDES[4]))


@dataclass(frozen=True)
class Levels:
    """Scale and offset of a group, for each row [M]. offset: None where the format has none."""

    scale: Floats
    offset: Floats | None = None


class Format(Protocol):
    """A number format; see the module. codebooks: what codes stand for, None where that is ``code - zero_point``."""

    @property
    def bits(self) -> int:
        """Bits of a code."""

    @property
    def zero_point(self) -> float:
        """As LowBitMatrix has it."""

    @property
    def codebooks(self) -> tuple[tuple[float, ...], tuple[float, ...] | None] | None:
        """16 values, and those of the offset."""

    @property
    def ternary(self) -> bool:
        """Whether the codes are -1, 0 and 1, packed five to a byte."""

    def widest(self, w: Floats) -> Levels:
        """Levels that reach all of the weights [M, n]."""

    def shrunk(self, levels: Levels, by: float) -> Levels:
        """Levels that reach a part of what these do."""

    def moved(self, levels: Levels) -> list[Levels]:
        """Levels beside these that ``shrunk`` does not come by: one end kept, the other moved."""

    def codes(self, w: Floats, levels: Levels) -> Codes:
        """The nearest codes [M, n]."""

    def values(self, codes: Codes, levels: Levels) -> Floats:
        """What codes stand for [M, n]."""


def _inverse(scale: Floats) -> Floats:
    """1 / scale, 0 where that would overflow."""
    return np.divide(1, scale, out=np.zeros_like(scale), where=np.abs(scale) > _TINY)


@dataclass(frozen=True)
class AsymmetricIntegers:
    """``scale * code + offset``. negative_offset: the offset is at most 0, so that 0 is within reach."""

    bits: int
    negative_offset: bool = False
    zero_point = 0.0
    codebooks = None
    ternary = False

    def widest(self, w: Floats) -> Levels:
        """From the smallest weight to the largest."""
        low, high = w.min(axis=1), w.max(axis=1)
        if self.negative_offset:
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        return Levels((high - low) / np.float32(2**self.bits - 1), low)

    def shrunk(self, levels: Levels, by: float) -> Levels:
        """Less at both ends."""
        assert levels.offset is not None
        scale = levels.scale * np.float32(by)
        span = levels.scale * np.float32(2**self.bits - 1)
        return Levels(scale, levels.offset + span * np.float32((1 - by) / 2))

    def moved(self, levels: Levels) -> list[Levels]:
        """All levels up or down by parts of a step."""
        assert levels.offset is not None
        steps = (np.float32(part) for part in (-0.375, -0.25, -0.125, 0.125, 0.25, 0.375))
        return [Levels(levels.scale, levels.offset + levels.scale * step) for step in steps]

    def codes(self, w: Floats, levels: Levels) -> Codes:
        """Rounded and clipped."""
        assert levels.offset is not None
        found = np.rint((w - levels.offset[:, None]) * _inverse(levels.scale)[:, None])
        return np.asarray(np.clip(found, 0, 2**self.bits - 1), np.uint8)

    def values(self, codes: Codes, levels: Levels) -> Floats:
        """``scale * code + offset``."""
        assert levels.offset is not None
        return codes * levels.scale[:, None] + levels.offset[:, None]


class _OneScale:
    """A format whose levels are a scale alone."""

    def shrunk(self, levels: Levels, by: float) -> Levels:
        """A smaller scale."""
        return Levels(levels.scale * np.float32(by))

    def moved(self, levels: Levels) -> list[Levels]:
        """None: there is only a scale."""
        return []


@dataclass(frozen=True)
class SymmetricIntegers(_OneScale):
    """``scale * (code - 2**(bits - 1))``; at 1 bit the levels are ± half a scale.

    The scale's sign lets the weight of largest magnitude have the lowest code, which reaches further than the highest.
    """

    bits: int
    codebooks = None
    ternary = False

    @property
    def zero_point(self) -> float:
        """The code of 0."""
        return 0.5 if self.bits == 1 else float(2 ** (self.bits - 1))

    def widest(self, w: Floats) -> Levels:
        """Up to the weight of largest magnitude."""
        if self.bits == 1:
            return Levels(4 * np.abs(w).mean(axis=1))
        low, high = w.min(axis=1), w.max(axis=1)
        return Levels(np.where(-low > high, low, high) / np.float32(-(2 ** (self.bits - 1))))

    def codes(self, w: Floats, levels: Levels) -> Codes:
        """Rounded and clipped."""
        found = np.rint(w * _inverse(levels.scale)[:, None] + np.float32(self.zero_point))
        return np.asarray(np.clip(found, 0, 2**self.bits - 1), np.uint8)

    def values(self, codes: Codes, levels: Levels) -> Floats:
        """``scale * (code - zero_point)``."""
        return (codes.astype(np.float32) - np.float32(self.zero_point)) * levels.scale[:, None]


@dataclass(frozen=True)
class SmallFloats:
    """Floats of 3 or 4 bits, code = magnitude + 8 where negative, kept as codes of a 4-bit codebook.

    two_scales: one for the positive and one for the negative weights of a group, as AFPQ has it (Zhang et al., 2023,
    "AFPQ: Asymmetric Floating Point Quantization for LLMs").
    """

    float_bits: int
    two_scales: bool
    bits = 4
    zero_point = 0.0
    ternary = False

    @property
    def codebooks(self) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Magnitudes and their negatives; with two scales each has zeros in place of the other's."""
        magnitudes = MAGNITUDES[self.float_bits]
        positive = (*magnitudes, *(0.0,) * (8 - len(magnitudes)))
        negative = tuple(-value for value in positive)
        zeros = (0.0,) * 8
        return ((*positive, *zeros), (*zeros, *negative)) if self.two_scales else ((*positive, *negative), None)

    def widest(self, w: Floats) -> Levels:
        """Up to the largest magnitude, with two scales of each sign."""
        top = np.float32(MAGNITUDES[self.float_bits][-1])
        high, low = np.maximum(w.max(axis=1), 0) / top, np.maximum(-w.min(axis=1), 0) / top
        return Levels(high, low) if self.two_scales else Levels(np.maximum(high, low))

    def shrunk(self, levels: Levels, by: float) -> Levels:
        """Smaller scales."""
        part = np.float32(by)
        return Levels(levels.scale * part, None if levels.offset is None else levels.offset * part)

    def moved(self, levels: Levels) -> list[Levels]:
        """One sign's scale alone."""
        if levels.offset is None:
            return []
        parts = [np.float32(part) for part in (0.7, 0.8, 0.9, 1.1)]
        return [Levels(levels.scale * part, levels.offset) for part in parts] + [
            Levels(levels.scale, levels.offset * part) for part in parts
        ]

    def codes(self, w: Floats, levels: Levels) -> Codes:
        """The nearest magnitude of the weight's sign."""
        magnitudes = np.array(MAGNITUDES[self.float_bits], np.float32)
        other = levels.scale if levels.offset is None else levels.offset
        negative = w < 0
        scaled = np.abs(w) * np.where(negative, _inverse(other)[:, None], _inverse(levels.scale)[:, None])
        found = np.zeros(w.shape, np.uint8)
        for middle in (magnitudes[1:] + magnitudes[:-1]) / 2:
            found += scaled > middle
        return found + np.uint8(8) * negative

    def values(self, codes: Codes, levels: Levels) -> Floats:
        """Magnitude times the sign's scale."""
        magnitudes = np.zeros(16, np.float32)
        count = len(MAGNITUDES[self.float_bits])
        magnitudes[:count] = magnitudes[8 : 8 + count] = MAGNITUDES[self.float_bits]
        other = levels.scale if levels.offset is None else levels.offset
        return magnitudes[codes] * np.where(codes >= 8, -other[:, None], levels.scale[:, None])


@dataclass(frozen=True)
class Ternary(_OneScale):
    """-1, 0 and 1 times a scale. packed: five to a byte, for groups of a multiple of 128 weights, or rows."""

    packed: bool
    bits = 2
    zero_point = 1.0
    codebooks = None

    @property
    def ternary(self) -> bool:
        """Whether they are packed as such."""
        return self.packed

    def widest(self, w: Floats) -> Levels:
        """Weights above half of the scale are not zero: from twice the mean magnitude down."""
        return Levels(np.float32(2.4) * np.abs(w).mean(axis=1))

    def codes(self, w: Floats, levels: Levels) -> Codes:
        """Rounded and clipped, plus one."""
        return np.asarray(np.clip(np.rint(w * _inverse(levels.scale)[:, None]), -1, 1) + 1, np.uint8)

    def values(self, codes: Codes, levels: Levels) -> Floats:
        """``scale * (code - 1)``."""
        return (codes.astype(np.float32) - 1) * levels.scale[:, None]
