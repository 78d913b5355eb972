"""Matrices as they lie in a checkpoint: low-bit and dense, before a kernel's packing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class BitFields:
    """Numbers of a block whose bits lie at equal distances.

    For i in 0..count-1 the ``width`` bits from bit ``8 * byte + shift + stride * i`` of the block on (the lowest bit of
    each byte first) are or-ed into number ``first + i``, ``dest`` bits up. With ``table`` it is the table's entry that
    those bits choose.
    """

    first: int
    count: int
    byte: int
    shift: int
    width: int
    dest: int = 0
    stride: int = 8
    table: tuple[int, ...] = ()


@dataclass(frozen=True)
class Grid:
    """Codes that are looked up, several at a time: in each block, index i chooses codes ``L * i`` to ``L * i + L - 1``.

    vectors: [N, L] uint8, the codes of each index; L is 4 or 8. index: fields that make up the indices.
    flips: fields that make up 8 bits for each 8 codes, lowest bit first; codes whose bit is set are xor-ed with
    ``flip``.
    """

    vectors: Array
    index: tuple[BitFields, ...]
    flips: tuple[BitFields, ...] = ()
    flip: int = 0


@dataclass(frozen=True)
class BlockLayout:
    """Where the codes lie in a block of ``block_bytes`` bytes that holds ``block_weights`` consecutive weights.

    The codes are the numbers that ``fields`` make up, or those of ``grid``; ``xor`` is applied to each finished one
    (0x80 turns signed bytes into unsigned ones).
    """

    block_weights: int
    block_bytes: int
    fields: tuple[BitFields, ...]
    xor: int = 0
    grid: Grid | None = None


def plain_codes() -> BlockLayout:
    """Layout of an array that holds one code per byte."""
    return BlockLayout(32, 32, (BitFields(0, 32, 0, 0, 8),))


@dataclass(frozen=True)
class TwoLevel:
    """Small integers under a half- or single-precision super-scale, as K-quants have them.

    The value for row m, group g is ``super_scale[m, g // groups_per_super] * values[m, g]``.

    values: [M, G] int8. super_scale: [M, ceil(G / groups_per_super)] float16 or float32.
    """

    values: Array
    super_scale: Array
    groups_per_super: int


@dataclass(frozen=True)
class ByteFloats:
    """Floats of 8 bits each: values is [M, G] uint8.

    Formats are the floats of one byte of `native/scales.def`, after OCP's specifications: "e8m0" is
    ``2**(byte - 127)``, the scale of microscaling formats (255 is infinite); "e4m3" is FP8 with 4 exponent and 3
    mantissa bits, no infinities, 0x7f and 0xff not a number, the scale of NVFP4.
    """

    values: Array
    format: str


@dataclass(frozen=True)
class InBlocks:
    """Scales or offsets that lie in the blocks of the source beside the codes, where the packing reads them.

    A block holds the bits of a float for each of its groups, in the format of ByteFloats or in float16: the numbers
    that ``floats`` makes up. With ``integers`` it holds one float16, and for each group a small integer under it: the
    value is ``float16 * (integer - bias)``. ``negative`` changes the sign of a float16.
    """

    floats: tuple[BitFields, ...]
    integers: tuple[BitFields, ...] = ()
    bias: int = 0
    negative: bool = False
    format: str = "f16"


Parameter = Array | TwoLevel | ByteFloats | InBlocks


@dataclass(frozen=True)
class LowBitMatrix:
    """``W[m, k] = scale[m, g] * value(q[m, k]) + offset[m, g]`` with ``g = k // group_size``.

    What a code means is one of four:

    - affine: ``value(q) = q - zero_point``, q of 1 to 8 bits.
    - a codebook of 16 values, q of 4 bits: ``value(q) = codebook[q]``. With a second one the offset is its scale:
      ``W = scale * codebook[q] + offset * second_codebook[q]``, as formats with a scale for each sign want it (the
      positive values in one, the negative ones in the other, zeros elsewhere).
    - ternary: ``value(q) = q - 1``, q of 0, 1 or 2, with one scale per row, or for each 128 weights or a multiple of
      them, packed five to a byte; bits is 2, zero_point 1, and there is no offset. Ternary weights with a scale for
      fewer are affine, of 2 bits.
    - float8: the code is an FP8 float itself, "e4m3" as ByteFloats has it, of 8 bits; there is no offset. Its products
      read activations as they are, in every precision.

    rows, columns: M output features, K input features (K is a multiple of 32).
    bits: 1 to 8. group_size: weights that share a scale (16, 32, 64, 128, 256, or K for one per row);
    G = ceil(K / group_size).
    source: [M, row_bytes] uint8, contiguous; row m is K / block_weights blocks one after another (a memory-mapped view
    of the checkpoint is fine: it is read once, by packing).
    scale: [M, G] float16, float32 or uint16 holding bfloat16 bits, TwoLevel, ByteFloats, or InBlocks.
    zero_point: one constant for the whole matrix (0 with a codebook or FP8). offset: None, or of the types of scale.
    factor: multiplies every scale and offset.
    input_permutation: [K] int32; column k, as stored, multiplies activation ``input_permutation[k]``. None: k.
    """

    rows: int
    columns: int
    bits: int
    group_size: int
    source: Array
    layout: BlockLayout
    scale: Parameter
    zero_point: float = 0.0
    offset: Parameter | None = None
    factor: float = 1.0
    codebook: tuple[float, ...] | None = None
    second_codebook: tuple[float, ...] | None = None
    ternary: bool = False
    float8: bool = False
    input_permutation: Array | None = None


@dataclass(frozen=True)
class DenseMatrix:
    """A matrix of floats: data is [M, K] float32 or float16, or uint16 holding bfloat16 bits."""

    data: Array

    @property
    def rows(self) -> int:
        """M, the number of output features."""
        return int(self.data.shape[0])

    @property
    def columns(self) -> int:
        """K, the number of input features."""
        return int(self.data.shape[1])


AnyMatrix = LowBitMatrix | DenseMatrix
__all__ = [
    "AnyMatrix",
    "BitFields",
    "BlockLayout",
    "ByteFloats",
    "DenseMatrix",
    "Grid",
    "InBlocks",
    "LowBitMatrix",
    "Parameter",
    "TwoLevel",
    "plain_codes",
]

# Kept for readers: dtype of bfloat16 bits.
BFLOAT16_BITS = np.dtype(np.uint16)
