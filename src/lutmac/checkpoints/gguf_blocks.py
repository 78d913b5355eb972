"""Where codes, scales and offsets lie in the blocks of GGUF's low-bit tensor types.

Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. Every type is a description that the
packing reads: none has a loop of its own. Scales keep the precision of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lutmac.lowbit.formats import E2M1
from lutmac.lowbit.matrix import BitFields, BlockLayout, InBlocks

Fields = tuple[BitFields, ...]


@dataclass(frozen=True)
class BlockType:
    """How the blocks of a type are codes, scales and offsets; the fields are those of LowBitMatrix."""

    bits: int
    group_size: int
    layout: BlockLayout
    scale: InBlocks
    zero_point: float = 0.0
    offset: InBlocks | None = None
    factor: float = 1.0
    codebook: tuple[float, ...] | None = None


def half_at(byte: int) -> Fields:
    """The float16 at that byte."""
    return (BitFields(0, 1, byte, 0, 16),)


def _nibbles(byte: int) -> Fields:
    """32 codes in 16 bytes: the low nibbles, then the high ones."""
    return (BitFields(0, 16, byte, 0, 4), BitFields(16, 16, byte, 4, 4))


def _fifth_bits(byte: int) -> BitFields:
    return BitFields(0, 32, byte, 0, 1, dest=4, stride=1)


def _slices(byte: int, width: int, dest: int = 0) -> Fields:
    """256 codes in slices of 32: 32 bytes hold one slice in their lowest bits, the next one above it, and so on."""
    per_byte = 8 // width
    return tuple(
        BitFields(32 * index, 32, byte + 32 * (index // per_byte), width * (index % per_byte), width, dest)
        for index in range(8)
    )


# Q2_K: 16 bytes of a 4-bit scale below a 4-bit minimum each, 64 bytes of codes, d, dmin. Minimums are subtracted.
_Q2_K_SCALE = InBlocks(half_at(80), (BitFields(0, 16, 0, 0, 4),))
_Q2_K_OFFSET = InBlocks(half_at(82), (BitFields(0, 16, 0, 4, 4),), negative=True)

# Q3_K: 32 bytes with the third bits, 64 with the others, 12 with 16 scales (low nibbles of 8, high nibbles of 8, then
# two more bits of each, 4 to a byte), d. Scales are signed around 32.
_Q3_K_SCALES = (
    BitFields(0, 8, 96, 0, 4),
    BitFields(8, 8, 96, 4, 4),
    *(BitFields(4 * quarter, 4, 104, 2 * quarter, 2, dest=4) for quarter in range(4)),
)
_Q3_K_SCALE = InBlocks(half_at(108), _Q3_K_SCALES, bias=32)
_Q3_K_FIELDS = (*_slices(32, 2), *_slices(0, 1, dest=2))


def _six_bits(byte: int, shift: int) -> Fields:
    """Q4_K's and Q5_K's 6-bit numbers of 8 groups: 4 whole ones; of the others 4 bits, and 2 atop of the first 4."""
    return (BitFields(0, 4, byte, 0, 6), BitFields(4, 4, 12, shift, 4), BitFields(4, 4, byte, 6, 2, dest=4))


# Q4_K: d and dmin, 12 bytes of scales and minimums, 128 bytes of nibbles. Q5_K has 32 bytes of fifth bits before them.
_Q4_K_SCALE = InBlocks(half_at(0), _six_bits(4, 0))
_Q4_K_OFFSET = InBlocks(half_at(2), _six_bits(8, 4), negative=True)
_Q5_K_FIELDS = (*_slices(48, 4), *_slices(16, 1, dest=4))

# Q6_K: per half of 128 weights 64 bytes with the low nibbles and 32 with the two high bits; 16 scales (s8); d.
_Q6_K_FIELDS = (
    *(
        BitFields(128 * half + 32 * quarter, 32, 64 * half + 32 * (quarter % 2), 4 * (quarter // 2), 4)
        for half in range(2)
        for quarter in range(4)
    ),
    *_slices(128, 2, dest=4),
)
_Q6_K_SCALE = InBlocks(half_at(208), (BitFields(0, 16, 192, 0, 8),))


# TQ1_0: 32 bytes and 16 bytes of 5 base-3 digits, 4 bytes of 4; the first digits of a part before its second ones; d. A
# byte stands for a fraction of 256, so that a digit is what passes 256 when the fraction before it is tripled.
def _digits(place: int) -> tuple[int, ...]:
    return tuple(byte * 3**place % 256 * 3 // 256 for byte in range(256))


_TQ1_0_FIELDS = tuple(
    BitFields(first + bytes_ * place, bytes_, byte, 0, 8, table=_digits(place))
    for first, byte, bytes_, places in ((0, 0, 32, 5), (160, 32, 16, 5), (240, 48, 4, 4))
    for place in range(places)
)

# PTQ1_0: such digits of 16 bytes, of 8, and 4 to a byte of 2; d.
_PTQ1_0_FIELDS = tuple(
    BitFields(first + bytes_ * place, bytes_, byte, 0, 8, table=_digits(place))
    for first, byte, bytes_, places in ((0, 0, 16, 5), (80, 16, 8, 5), (120, 24, 2, 4))
    for place in range(places)
)

# The block's only scale is its first number, the offset its second.
_AT_0, _AT_2 = InBlocks(half_at(0)), InBlocks(half_at(2))

# IQ4_NL's values lie closer around zero. IQ4_XS: d, 2 bytes and 4 bytes with the high and low bits of 8 scales around
# 32, and nibbles.
_IQ4_VALUES = (-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0)
_IQ4_XS_SCALE = InBlocks(
    half_at(0), (BitFields(0, 8, 4, 0, 4, stride=4), BitFields(0, 8, 2, 0, 2, 4, stride=2)), bias=32
)
_IQ4_XS_FIELDS = tuple(
    BitFields(32 * group + 16 * high, 16, 8 + 16 * group, 4 * high, 4) for group in range(8) for high in range(2)
)

# Both of the 4-bit floats hold E2M1 (https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf).
# MXFP4: a power of two (E8M0), nibbles. NVFP4: 4 scales (E4M3 without a sign; what would not be a number is 0), nibbles
# of 16 weights in 8 bytes each.
_UNSIGNED = tuple(byte & 0x7F if byte & 0x7F != 0x7F else 0 for byte in range(256))
_NVFP4_FIELDS = tuple(
    BitFields(16 * group + 8 * high, 8, 4 + 8 * group, 4 * high, 4) for group in range(4) for high in range(2)
)
_MXFP4_SCALE = InBlocks((BitFields(0, 1, 0, 0, 8),), format="e8m0")
_NVFP4_SCALE = InBlocks((BitFields(0, 4, 0, 0, 8, table=_UNSIGNED),), format="e4m3")

BLOCK_TYPES: Final = {
    "Q4_0": BlockType(4, 32, BlockLayout(32, 18, _nibbles(2)), _AT_0, zero_point=8.0),
    "Q4_1": BlockType(4, 32, BlockLayout(32, 20, _nibbles(4)), _AT_0, offset=_AT_2),
    "Q5_0": BlockType(5, 32, BlockLayout(32, 22, (*_nibbles(6), _fifth_bits(2))), _AT_0, zero_point=16.0),
    "Q5_1": BlockType(5, 32, BlockLayout(32, 24, (*_nibbles(8), _fifth_bits(4))), _AT_0, offset=_AT_2),
    "Q8_0": BlockType(8, 32, BlockLayout(32, 34, (BitFields(0, 32, 2, 0, 8),), 0x80), _AT_0, zero_point=128.0),
    "Q2_K": BlockType(2, 16, BlockLayout(256, 84, _slices(16, 2)), _Q2_K_SCALE, offset=_Q2_K_OFFSET),
    "Q3_K": BlockType(3, 16, BlockLayout(256, 110, _Q3_K_FIELDS), _Q3_K_SCALE, zero_point=4.0),
    "Q4_K": BlockType(4, 32, BlockLayout(256, 144, _slices(16, 4)), _Q4_K_SCALE, offset=_Q4_K_OFFSET),
    "Q5_K": BlockType(5, 32, BlockLayout(256, 176, _Q5_K_FIELDS), _Q4_K_SCALE, offset=_Q4_K_OFFSET),
    "Q6_K": BlockType(6, 16, BlockLayout(256, 210, _Q6_K_FIELDS), _Q6_K_SCALE, zero_point=32.0),
    "TQ1_0": BlockType(2, 256, BlockLayout(256, 54, _TQ1_0_FIELDS), InBlocks(half_at(52)), zero_point=1.0),
    "TQ2_0": BlockType(2, 256, BlockLayout(256, 66, _slices(0, 2)), InBlocks(half_at(64)), zero_point=1.0),
    # A bit is a sign: -d or +d, which is twice d times the bit, less a half.
    "Q1_0": BlockType(
        1,
        128,
        BlockLayout(128, 18, (BitFields(0, 128, 2, 0, 1, stride=1),)),
        _AT_0,
        zero_point=0.5,
        factor=2.0,
    ),
    "Q2_0": BlockType(2, 64, BlockLayout(64, 18, (BitFields(0, 64, 2, 0, 2, stride=2),)), _AT_0, zero_point=1.0),
    # Prism's, of Bonsai 2: Q2_0 and TQ1_0 with a scale for each 128 weights.
    "PQ2_0": BlockType(2, 128, BlockLayout(128, 34, (BitFields(0, 128, 2, 0, 2, stride=2),)), _AT_0, zero_point=1.0),
    "PTQ1_0": BlockType(2, 128, BlockLayout(128, 28, _PTQ1_0_FIELDS), InBlocks(half_at(26)), zero_point=1.0),
    "IQ4_NL": BlockType(4, 32, BlockLayout(32, 18, _nibbles(2)), _AT_0, codebook=_IQ4_VALUES),
    "IQ4_XS": BlockType(4, 32, BlockLayout(256, 136, _IQ4_XS_FIELDS), _IQ4_XS_SCALE, codebook=_IQ4_VALUES),
    "MXFP4": BlockType(4, 32, BlockLayout(32, 17, _nibbles(1)), _MXFP4_SCALE, codebook=E2M1),
    "NVFP4": BlockType(4, 16, BlockLayout(64, 36, _NVFP4_FIELDS), _NVFP4_SCALE, codebook=E2M1),
}
