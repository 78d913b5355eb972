"""GGUF's tensor types, and how the bytes of each that lutmac reads are a low-bit or a dense matrix.

Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. Reading a type is lossless: codes stay
where they are, scales keep the precision of the file. A new type is one entry of ``_LOW_BIT``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.matrix import AnyMatrix, Array, BitRun, BlockLayout, DenseMatrix, LowBitMatrix, TwoLevel


@dataclass(frozen=True)
class TensorType:
    """A tensor type of GGUF: consecutive weights of a row come in blocks of ``block_bytes`` bytes."""

    name: str
    block_weights: int
    block_bytes: int


# Every type that the format defines, by its number: sizes are checked for all of them.
TENSOR_TYPES: Final = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
}

_DENSE: Final[dict[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}

# From the blocks, [M, blocks per row, block_bytes] uint8, to one value per group, [M, G].
Scales = Callable[[Array], Array | TwoLevel]


@dataclass(frozen=True)
class _LowBitType:
    """How the blocks of a type are codes, scales and offsets; the fields are those of LowBitMatrix."""

    bits: int
    group_size: int
    runs: tuple[BitRun, ...]
    scale: Scales
    zero_point: float = 0.0
    offset: Scales | None = None
    xor: int = 0


def _f16_at(byte: int, blocks: Array) -> Array:
    """The half-precision number at that byte of each block: [M, blocks per row], contiguous."""
    return np.ascontiguousarray(blocks[:, :, byte : byte + 2].view("<f2")[:, :, 0])


def _scale_f16(blocks: Array) -> Array:
    return _f16_at(0, blocks)


def _offset_f16(blocks: Array) -> Array:
    return _f16_at(2, blocks)


def _nibbles(byte: int, dest: int = 0) -> tuple[BitRun, ...]:
    """32 codes in 16 bytes: the low nibbles, then the high ones."""
    return (BitRun(0, 16, byte, 0, 4, dest), BitRun(16, 16, byte, 4, 4, dest))


def _fifth_bits(byte: int) -> BitRun:
    return BitRun(0, 32, byte, 0, 1, dest=4, packed_bits=True)


# Q4_K: d and dmin (f16), 12 bytes of 6-bit scales and minimums of 8 groups, then nibbles, 64 codes to 32 bytes.
_Q4_K_RUNS = tuple(
    BitRun(64 * chunk + 32 * half, 32, 16 + 32 * chunk, 4 * half, 4) for chunk in range(4) for half in range(2)
)


def _q4_k_six_bits(low: Array, high: Array) -> Array:
    """The 6-bit numbers of 8 groups: 4 of them in `low`; of the others, 4 bits in `high` and 2 atop `low`."""
    values = np.concatenate([low & 0x3F, high | ((low >> 2) & 0x30)], axis=2)
    return values.reshape(values.shape[0], -1).view(np.int8)


def _q4_k_scale(blocks: Array) -> TwoLevel:
    low, high = blocks[:, :, 4:8], blocks[:, :, 12:16] & 0x0F
    return TwoLevel(_q4_k_six_bits(low, high), _f16_at(0, blocks), 8)


def _q4_k_offset(blocks: Array) -> TwoLevel:
    low, high = blocks[:, :, 8:12], blocks[:, :, 12:16] >> 4
    return TwoLevel(_q4_k_six_bits(low, high), -_f16_at(2, blocks), 8)  # minimums are subtracted


# Q6_K: per half of 128 weights 64 bytes with the low nibbles and 32 with the two high bits; 16 scales (s8); d (f16).
_Q6_K_RUNS = tuple(
    run
    for half in range(2)
    for quarter in range(4)
    for run in (
        BitRun(128 * half + 32 * quarter, 32, 64 * half + 32 * (quarter % 2), 4 * (quarter // 2), 4),
        BitRun(128 * half + 32 * quarter, 32, 128 + 32 * half, 2 * quarter, 2, dest=4),
    )
)


def _q6_k_scale(blocks: Array) -> TwoLevel:
    scales = blocks[:, :, 192:208].reshape(blocks.shape[0], -1).view(np.int8)
    return TwoLevel(scales, _f16_at(208, blocks), 16)


_LOW_BIT: Final = {
    "Q4_0": _LowBitType(4, 32, _nibbles(2), _scale_f16, zero_point=8.0),
    "Q4_1": _LowBitType(4, 32, _nibbles(4), _scale_f16, offset=_offset_f16),
    "Q5_0": _LowBitType(5, 32, (*_nibbles(6), _fifth_bits(2)), _scale_f16, zero_point=16.0),
    "Q5_1": _LowBitType(5, 32, (*_nibbles(8), _fifth_bits(4)), _scale_f16, offset=_offset_f16),
    "Q8_0": _LowBitType(8, 32, (BitRun(0, 32, 2, 0, 8),), _scale_f16, zero_point=128.0, xor=0x80),
    "Q4_K": _LowBitType(4, 32, _Q4_K_RUNS, _q4_k_scale, offset=_q4_k_offset),
    "Q6_K": _LowBitType(6, 16, _Q6_K_RUNS, _q6_k_scale, zero_point=32.0),
}

_SIZES: Final = {entry.name: entry for entry in TENSOR_TYPES.values()}
SUPPORTED_TYPES: Final = (*_DENSE, *_LOW_BIT)


def type_name(number: int) -> str:
    """GGUF's name of a tensor type, or "type 99" for a number that the format does not define."""
    return TENSOR_TYPES[number].name if number in TENSOR_TYPES else f"type {number}"


def check_type(path: str, tensor: str, kind: str) -> None:
    """Raises UnsupportedModelError, naming file, tensor and type, if lutmac cannot read tensors of that type."""
    if kind in SUPPORTED_TYPES:
        return
    shown = kind if kind.startswith("type ") else f"type {kind}"
    supported = ", ".join(SUPPORTED_TYPES)
    raise UnsupportedModelError(
        f"{path}: tensor {tensor!r} has {shown}, which lutmac does not read yet; supported: {supported}"
    )


def as_matrix(kind: str, rows: int, columns: int, data: Array) -> AnyMatrix:
    """The matrix that the bytes of a supported type mean.

    data: the tensor's bytes, 1-D uint8. Codes and dense elements stay a view of it; scales and offsets are copied.
    """
    if kind in _DENSE:
        return DenseMatrix(data.view(_DENSE[kind]).reshape(rows, columns))
    size, low_bit = _SIZES[kind], _LOW_BIT[kind]
    blocks = data.reshape(rows, columns // size.block_weights, size.block_bytes)
    return LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=low_bit.bits,
        group_size=low_bit.group_size,
        source=data.reshape(rows, -1),
        layout=BlockLayout(size.block_weights, size.block_bytes, low_bit.runs, low_bit.xor),
        scale=low_bit.scale(blocks),
        zero_point=low_bit.zero_point,
        offset=low_bit.offset(blocks) if low_bit.offset else None,
    )
