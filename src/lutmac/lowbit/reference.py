"""Matrices as the plain floats they stand for, by definition: the reference that exactness is measured against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lutmac.lowbit.matrix import (
    AnyMatrix,
    Array,
    BitFields,
    ByteFloats,
    DenseMatrix,
    Grid,
    InBlocks,
    LowBitMatrix,
    Parameter,
    TwoLevel,
)


def _e4m3(byte: int) -> float:
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = math.nan if byte & 0x7F == 0x7F else math.ldexp((exponent > 0) * 8 + mantissa, max(exponent, 1) - 10)
    return -value if byte & 0x80 else value


# The value of every byte, by format; see ByteFloats.
BYTE_FLOATS = {
    "e8m0": np.array([math.ldexp(1.0, byte - 127) for byte in range(255)] + [math.inf], np.float32),
    "e4m3": np.array([_e4m3(byte) for byte in range(256)], np.float32),
}


def dequantize(matrix: AnyMatrix) -> NDArray[np.float32]:
    """The matrix as float32 [M, K], as LowBitMatrix defines it, every step rounded to float32.

    Takes several times the memory of the result.
    """
    if isinstance(matrix, DenseMatrix):
        return _dense(matrix.data)
    # Scales of hostile or untrained files may be infinite: the result is then what IEEE 754 says.
    with np.errstate(invalid="ignore", over="ignore"):
        found = codes(matrix)
        weights = _values(matrix, found)
        weights *= _per_weight(matrix.scale, matrix)
        if matrix.offset is not None:
            offset = _per_weight(matrix.offset, matrix)
            weights += offset if matrix.second_codebook is None else offset * _looked_up(matrix.second_codebook, found)
    if matrix.input_permutation is not None:
        stored, weights = weights, np.empty_like(weights)
        weights[:, matrix.input_permutation] = stored
    return weights


def codes(matrix: LowBitMatrix) -> NDArray[np.uint8]:
    """The codes q[m, k] of a low-bit matrix, [M, K] uint8, in the order in which they are stored."""
    layout, blocks = matrix.layout, _blocks(matrix)
    if layout.grid is None:
        found = _gather(layout.fields, layout.block_weights, blocks)
    else:
        found = _look_up(layout.grid, layout.block_weights, blocks)
    return (found.astype(np.uint8) ^ np.uint8(layout.xor)).reshape(matrix.rows, -1)


def _values(matrix: LowBitMatrix, found: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the codes mean, before their scale."""
    if matrix.float8:
        return BYTE_FLOATS["e4m3"][found]
    return _looked_up(matrix.codebook, found) - np.float32(matrix.zero_point)


def _looked_up(codebook: tuple[float, ...] | None, found: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of the codes; without a codebook, the codes themselves."""
    return found.astype(np.float32) if codebook is None else np.array(codebook, np.float32)[found]


def parameter_values(parameter: Parameter, matrix: LowBitMatrix) -> Array | TwoLevel | ByteFloats:
    """A scale or an offset of the matrix as arrays of their own, wherever it lies."""
    if not isinstance(parameter, InBlocks):
        return parameter
    blocks = _blocks(matrix)
    groups = matrix.layout.block_weights // matrix.group_size
    bits = _gather(parameter.floats, 1 if parameter.integers else groups, blocks).reshape(matrix.rows, -1)
    if parameter.format != "f16":
        return ByteFloats(bits.astype(np.uint8), parameter.format)
    halves = -bits.view(np.float16) if parameter.negative else bits.view(np.float16)
    if not parameter.integers:
        return halves
    integers = (_gather(parameter.integers, groups, blocks) - np.uint16(parameter.bias)).astype(np.int8)
    return TwoLevel(integers.reshape(matrix.rows, -1), halves, groups)


def _blocks(matrix: LowBitMatrix) -> Array:
    return matrix.source.reshape(matrix.rows, -1, matrix.layout.block_bytes)


def _look_up(grid: Grid, block_weights: int, blocks: Array) -> Array:
    """The codes of a grid: [M, blocks per row, block_weights]."""
    found = grid.vectors[_gather(grid.index, block_weights // grid.vectors.shape[1], blocks)]
    if grid.flips:
        bits = _gather(grid.flips, block_weights // 8, blocks)[..., None] >> np.arange(8, dtype=np.uint16) & 1
        found = found.reshape(bits.shape) ^ (bits * np.uint16(grid.flip)).astype(np.uint8)
    return np.asarray(found).reshape(*blocks.shape[:2], -1)


def _gather(fields: tuple[BitFields, ...], count: int, blocks: Array) -> NDArray[np.uint16]:
    """The ``count`` numbers of each block that the fields make up: [M, blocks per row, count]."""
    found = np.zeros((*blocks.shape[:2], count), np.uint16)
    for field in fields:
        found[:, :, field.first : field.first + field.count] |= _field_values(field, blocks) << np.uint16(field.dest)
    return found


def _field_values(field: BitFields, blocks: Array) -> NDArray[np.uint16]:
    bits = 8 * field.byte + field.shift + field.stride * np.arange(field.count)
    values = np.zeros((*blocks.shape[:2], field.count), np.uint32)
    for part in range((field.width + 14) // 8):  # bytes that the bits of a number may lie in
        at = np.minimum(bits // 8 + part, blocks.shape[2] - 1)
        values |= blocks[:, :, at].astype(np.uint32) << np.uint32(8 * part)
    found = (values >> (bits % 8).astype(np.uint32) & np.uint32(2**field.width - 1)).astype(np.uint16)
    return np.array(field.table, np.int16).view(np.uint16)[found] if field.table else found


def _per_weight(parameter: Parameter, matrix: LowBitMatrix) -> Array:
    """A parameter per group, [M, G], times the matrix's factor, spread over the weights: float32 [M, K]."""
    parameter = parameter_values(parameter, matrix)
    if isinstance(parameter, TwoLevel):
        supers = np.repeat(parameter.super_scale.astype(np.float32), parameter.groups_per_super, axis=1)
        values = supers[:, : parameter.values.shape[1]] * parameter.values.astype(np.float32)
    elif isinstance(parameter, ByteFloats):
        values = BYTE_FLOATS[parameter.format][parameter.values]
    else:
        values = _dense(parameter)
    values = values * np.float32(matrix.factor)
    return np.repeat(values, matrix.group_size, axis=1)[:, : matrix.columns]


def _dense(data: Array) -> NDArray[np.float32]:
    if data.dtype == np.uint16:  # bfloat16: the upper half of a float32
        return (data.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return data.astype(np.float32)
