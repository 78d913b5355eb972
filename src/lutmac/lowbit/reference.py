"""Matrices as the plain floats they stand for, by definition: the reference that exactness is measured against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lutmac.lowbit.matrix import AnyMatrix, Array, BitRun, ByteFloats, DenseMatrix, LowBitMatrix, Parameter, TwoLevel


def _e4m3(byte: int) -> float:
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = math.nan if byte & 0x7F == 0x7F else math.ldexp((exponent > 0) * 8 + mantissa, max(exponent, 1) - 10)
    return -value if byte & 0x80 else value


# The value of every byte of the two formats; see ByteFloats.
_E8M0 = np.array([math.ldexp(1.0, byte - 127) for byte in range(255)] + [math.inf], np.float32)
_E4M3 = np.array([_e4m3(byte) for byte in range(256)], np.float32)


def dequantize(matrix: AnyMatrix) -> NDArray[np.float32]:
    """The matrix as float32 [M, K], as LowBitMatrix defines it, every step rounded to float32.

    Takes several times the memory of the result.
    """
    if isinstance(matrix, DenseMatrix):
        return _dense(matrix.data)
    # Scales of hostile or untrained files may be infinite: the result is then what IEEE 754 says.
    with np.errstate(invalid="ignore", over="ignore"):
        found = codes(matrix)
        weights = _looked_up(matrix.codebook, found) - np.float32(matrix.zero_point)
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
    layout = matrix.layout
    blocks = matrix.source.reshape(matrix.rows, -1, layout.block_bytes)
    found = np.zeros((matrix.rows, blocks.shape[1], layout.block_weights), np.uint8)
    for run in layout.runs:
        found[:, :, run.first : run.first + run.count] |= _run_codes(run, blocks) << np.uint8(run.dest)
    return (found ^ np.uint8(layout.xor)).reshape(matrix.rows, -1)


def _looked_up(codebook: tuple[float, ...] | None, found: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of the codes; without a codebook, the codes themselves."""
    return found.astype(np.float32) if codebook is None else np.array(codebook, np.float32)[found]


def _run_codes(run: BitRun, blocks: Array) -> Array:
    if run.packed_bits:
        packed = blocks[:, :, run.byte : run.byte + (run.count + 7) // 8]
        return np.unpackbits(packed, axis=2, count=run.count, bitorder="little")
    values = blocks[:, :, run.byte : run.byte + run.count] >> np.uint8(run.shift)
    return np.asarray(values & np.uint8(2**run.width - 1))


def _per_weight(parameter: Parameter, matrix: LowBitMatrix) -> Array:
    """A parameter per group, [M, G], times the matrix's factor, spread over the weights: float32 [M, K]."""
    if isinstance(parameter, TwoLevel):
        supers = np.repeat(parameter.super_scale.astype(np.float32), parameter.groups_per_super, axis=1)
        values = supers[:, : parameter.values.shape[1]] * parameter.values.astype(np.float32)
    elif isinstance(parameter, ByteFloats):
        values = _E8M0[parameter.values] if parameter.format == "e8m0" else _E4M3[parameter.values]
    else:
        values = _dense(parameter)
    values = values * np.float32(matrix.factor)
    return np.repeat(values, matrix.group_size, axis=1)[:, : matrix.columns]


def _dense(data: Array) -> NDArray[np.float32]:
    if data.dtype == np.uint16:  # bfloat16: the upper half of a float32
        return (data.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return data.astype(np.float32)
