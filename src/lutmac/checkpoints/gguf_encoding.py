"""Low-bit matrices as blocks of GGUF's tensor types: the layouts that are read, the other way round."""

from __future__ import annotations

from typing import Final

import numpy as np

from lutmac.checkpoints.gguf_blocks import BLOCK_TYPES
from lutmac.lowbit.matrix import Array, BitFields, InBlocks, LowBitMatrix, Parameter, TwoLevel

# general.file_type of a file that is mostly of a type. Q2_0's is not known: a number above those that are.
FILE_TYPES: Final = {
    "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 12, "Q4_K": 15, "Q5_K": 17, "Q6_K": 18,
    "TQ2_0": 37, "Q1_0": 40, "Q2_0": 1024,
}  # fmt: skip


def encode(name: str, matrix: LowBitMatrix) -> Array:
    """A matrix with one code per byte as blocks of the type ``name``, [blocks, bytes]; a key of FILE_TYPES.

    Codes, groups, scales and offsets are those of the type, but that codes may run the other way (and scales have the
    other sign), and that a ternary row may have one scale.
    """
    kind = BLOCK_TYPES[name]
    layout = kind.layout
    top = np.uint8(2**kind.bits - 1)
    mirrored = matrix.zero_point != kind.zero_point
    assert not mirrored or matrix.zero_point == top - kind.zero_point
    codes = matrix.source.reshape(-1, layout.block_weights)
    blocks = np.zeros((len(codes), layout.block_bytes), np.uint8)
    _scatter(layout.fields, (top - codes if mirrored else codes) ^ np.uint8(layout.xor), blocks)
    _put(kind.scale, matrix.scale, matrix, (-1 if mirrored else 1) / kind.factor, blocks)
    if kind.offset is not None and matrix.offset is not None:
        _put(kind.offset, matrix.offset, matrix, 1.0, blocks)
    return blocks


def block_bytes(name: str, rows: int, columns: int) -> int:
    """Bytes of a tensor of that type."""
    layout = BLOCK_TYPES[name].layout
    return rows * columns // layout.block_weights * layout.block_bytes


def find_type(bits: int, group_size: int, *, offset: bool) -> str | None:
    """The type with a float16 scale (and offset) for each group, that holds such a matrix to the bit."""
    for name in FILE_TYPES:
        kind = BLOCK_TYPES[name]
        same = (kind.bits, kind.group_size, kind.offset is not None) == (bits, group_size, offset)
        if same and not kind.scale.integers and name != "TQ2_0":  # that is for codes of three values
            return name
    return None


def _put(where: InBlocks, parameter: Parameter, matrix: LowBitMatrix, factor: float, blocks: Array) -> None:
    """A scale or an offset times the factor."""
    floats = parameter
    if isinstance(parameter, TwoLevel):
        floats = parameter.super_scale
        integers = parameter.values.astype(np.int16).reshape(len(blocks), -1) + np.int16(where.bias)
        _scatter(where.integers, integers.view(np.uint16), blocks)
    assert isinstance(floats, np.ndarray)
    if len(blocks) > floats.size:  # one scale for a row
        floats = np.repeat(floats, len(blocks) // floats.size, axis=1)
    halves = (floats * np.float32(-factor if where.negative else factor)).astype("<f2").reshape(len(blocks), -1)
    _scatter(where.floats, halves.view(np.uint16), blocks)


def _scatter(fields: tuple[BitFields, ...], values: Array, blocks: Array) -> None:
    """Or-s the numbers [blocks, count] that the fields make up into the blocks, in place."""
    for field in fields:
        numbers = values[:, field.first : field.first + field.count].astype(np.uint32) >> field.dest & (
            2**field.width - 1
        )
        bits = 8 * field.byte + field.shift + field.stride * np.arange(field.count)
        shifted = numbers << (bits % 8).astype(np.uint32)
        for part in range((field.width + 14) // 8):  # bytes that the bits of a number may lie in
            for number, at in enumerate(bits // 8 + part):
                if at < blocks.shape[1]:
                    blocks[:, at] |= (shifted[:, number] >> 8 * part).astype(np.uint8)
