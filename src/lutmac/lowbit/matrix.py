"""Matrices as they lie in a checkpoint: low-bit and dense, before a kernel's packing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class BitRun:
    """A run of consecutive codes of a block whose bits lie in consecutive bytes (or bits) of that block.

    For i in 0..count-1 the run contributes ``((block[byte + i] >> shift) & (2**width - 1)) << dest`` to code
    ``first + i``. With ``packed_bits`` the source is a bit string instead, one bit per code, least significant bit
    first: ``((block[byte + i // 8] >> (i % 8)) & 1) << dest``.
    """

    first: int
    count: int
    byte: int
    shift: int
    width: int
    dest: int = 0
    packed_bits: bool = False


@dataclass(frozen=True)
class BlockLayout:
    """Where the codes lie in a block of ``block_bytes`` bytes that holds ``block_weights`` consecutive weights.

    Runs are or-ed together; ``xor`` is applied to each finished code (0x80 turns signed bytes into unsigned ones).
    """

    block_weights: int
    block_bytes: int
    runs: tuple[BitRun, ...]
    xor: int = 0


def plain_codes() -> BlockLayout:
    """Layout of an array that holds one code per byte."""
    return BlockLayout(32, 32, (BitRun(0, 32, 0, 0, 8),))


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

    Formats, after OCP's specifications: "e8m0" is ``2**(byte - 127)``, the scale of microscaling formats (255 is
    infinite); "e4m3" is FP8 with 4 exponent and 3 mantissa bits, no infinities, 0x7f and 0xff not a number, the scale
    of NVFP4.
    """

    values: Array
    format: Literal["e8m0", "e4m3"]


Parameter = Array | TwoLevel | ByteFloats


@dataclass(frozen=True)
class LowBitMatrix:
    """``W[m, k] = scale[m, g] * value(q[m, k]) + offset[m, g]`` with ``g = k // group_size``.

    What a code means is one of three:

    - affine: ``value(q) = q - zero_point``, q of 1 to 8 bits.
    - a codebook of 16 values, q of 4 bits: ``value(q) = codebook[q]``. With a second one the offset is its scale:
      ``W = scale * codebook[q] + offset * second_codebook[q]``, as formats with a scale for each sign want it (the
      positive values in one, the negative ones in the other, zeros elsewhere).
    - ternary: ``value(q) = q - 1``, q of 0, 1 or 2, with one scale per row, packed five to a byte; bits is 2,
      zero_point 1, and there is no offset. Ternary weights with a scale for each group are affine, of 2 bits.

    rows, columns: M output features, K input features (K is a multiple of 32).
    bits: 1 to 8. group_size: weights that share a scale (16, 32, 64, 128, 256, or K for one per row);
    G = ceil(K / group_size).
    source: [M, row_bytes] uint8, contiguous; row m is K / block_weights blocks one after another (a memory-mapped view
    of the checkpoint is fine: it is read once, by packing).
    scale: [M, G] float16, float32 or uint16 holding bfloat16 bits, TwoLevel, or ByteFloats.
    zero_point: one constant for the whole matrix (0 with a codebook). offset: None, or of the types of scale.
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
    "BitRun",
    "BlockLayout",
    "ByteFloats",
    "DenseMatrix",
    "LowBitMatrix",
    "Parameter",
    "TwoLevel",
    "plain_codes",
]

# Kept for readers: dtype of bfloat16 bits.
BFLOAT16_BITS = np.dtype(np.uint16)
