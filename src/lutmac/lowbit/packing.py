"""Handing a checkpoint's matrices to the packing of an ISA target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.lowbit.matrix import (
    AnyMatrix,
    BitRun,
    ByteFloats,
    DenseMatrix,
    Grid,
    InBlocks,
    LowBitMatrix,
    Parameter,
    TwoLevel,
)


class Packer:
    """Packs matrices into the order that an ISA target's kernels read, many in one go."""

    def __init__(self, *, target: str, threads: int) -> None:
        """target: one that this CPU runs."""
        self._native = _native.Packer(target=target, threads=threads)

    def add(self, matrix: AnyMatrix) -> _native.Matrix:
        """A packed matrix whose contents are there once ``finish`` returns; its source is read then.

        An input permutation is not part of the packing: activations are to come in its order.
        """
        if isinstance(matrix, DenseMatrix):
            return self._native.add_dense(np.ascontiguousarray(matrix.data))
        return self._add_lowbit(matrix)

    def finish(self) -> None:
        """Packs what was added. Other Python threads run meanwhile."""
        self._native.finish()

    def _add_lowbit(self, matrix: LowBitMatrix) -> _native.Matrix:
        layout = matrix.layout
        scale, scale_super, scale_groups = _levels(matrix.scale)
        offset, offset_super, offset_groups = _levels(matrix.offset)
        return self._native.add_lowbit(
            rows=matrix.rows,
            columns=matrix.columns,
            bits=matrix.bits,
            group_size=matrix.group_size,
            source=matrix.source,
            block_weights=layout.block_weights,
            block_bytes=layout.block_bytes,
            codes=_numbers(layout.runs),
            grid=None if layout.grid is None else _grid(layout.grid),
            xor=layout.xor,
            scale_in_blocks=_in_blocks(matrix.scale),
            scale=scale,
            scale_super=scale_super,
            scale_groups_per_super=scale_groups,
            zero_point=matrix.zero_point,
            offset_in_blocks=_in_blocks(matrix.offset),
            offset=offset,
            offset_super=offset_super,
            offset_groups_per_super=offset_groups,
            scale_format=_format(matrix.scale),
            offset_format=_format(matrix.offset),
            factor=matrix.factor,
            codebook=_values(matrix.codebook),
            second_codebook=_values(matrix.second_codebook),
            ternary=matrix.ternary,
            float8=matrix.float8,
        )


def pack(matrix: AnyMatrix, *, target: str, threads: int) -> _native.Matrix:
    """One matrix in the order that the target's kernels read. Its source is not needed afterwards."""
    packer = Packer(target=target, threads=threads)
    packed = packer.add(matrix)
    packer.finish()
    return packed


def _levels(parameter: Parameter | None) -> tuple[NDArray[Any] | None, NDArray[Any] | None, int]:
    if parameter is None or isinstance(parameter, InBlocks):
        return None, None, 0
    if isinstance(parameter, TwoLevel):
        values = np.ascontiguousarray(parameter.values)
        return values, np.ascontiguousarray(parameter.super_scale), parameter.groups_per_super
    if isinstance(parameter, ByteFloats):
        return np.ascontiguousarray(parameter.values), None, 0
    return np.ascontiguousarray(parameter), None, 0


def _format(parameter: Parameter | None) -> str:
    return parameter.format if isinstance(parameter, ByteFloats) else ""


def _values(codebook: tuple[float, ...] | None) -> NDArray[np.float32] | None:
    return None if codebook is None else np.array(codebook, np.float32)


def _numbers(runs: tuple[BitRun, ...]) -> _native.BlockNumbers:
    tables: list[int] = []
    rows = []
    for r in runs:
        rows.append((r.first, r.count, r.byte, r.shift, r.width, r.dest, r.stride, len(tables) if r.table else -1))
        tables += r.table
    return _native.BlockNumbers(np.array(rows, np.int32).reshape(len(rows), 8), np.array(tables, np.int32))


def _grid(grid: Grid) -> _native.Grid:
    return _native.Grid(
        vectors=np.ascontiguousarray(grid.vectors),
        index=_numbers(grid.index),
        flips=_numbers(grid.flips),
        flip=grid.flip,
    )


def _in_blocks(parameter: Parameter | None) -> _native.InBlocks | None:
    if not isinstance(parameter, InBlocks):
        return None
    return _native.InBlocks(
        floats=_numbers(parameter.floats),
        integers=_numbers(parameter.integers),
        bias=parameter.bias,
        negative=parameter.negative,
        format=parameter.format,
    )
