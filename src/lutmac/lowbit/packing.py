"""Handing a checkpoint's matrices to the packing of an ISA target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.lowbit.matrix import AnyMatrix, Array, BlockLayout, DenseMatrix, LowBitMatrix, TwoLevel


def pack(matrix: AnyMatrix, *, target: str, threads: int) -> _native.Matrix:
    """A matrix in the order that the target's kernels read. Its source is not needed afterwards."""
    if isinstance(matrix, DenseMatrix):
        return _native.Matrix.pack_dense(target=target, data=np.ascontiguousarray(matrix.data), threads=threads)
    return _pack_lowbit(matrix, target, threads)


def _pack_lowbit(matrix: LowBitMatrix, target: str, threads: int) -> _native.Matrix:
    scale, scale_super, scale_groups = _levels(matrix.scale)
    offset, offset_super, offset_groups = (None, None, 0) if matrix.offset is None else _levels(matrix.offset)
    return _native.Matrix.pack_lowbit(
        target=target,
        rows=matrix.rows,
        columns=matrix.columns,
        bits=matrix.bits,
        group_size=matrix.group_size,
        source=matrix.source,
        block_weights=matrix.layout.block_weights,
        block_bytes=matrix.layout.block_bytes,
        runs=_runs(matrix.layout),
        xor=matrix.layout.xor,
        scale=scale,
        scale_super=scale_super,
        scale_groups_per_super=scale_groups,
        zero_point=matrix.zero_point,
        offset=offset,
        offset_super=offset_super,
        offset_groups_per_super=offset_groups,
        threads=threads,
    )


def _levels(parameter: Array | TwoLevel) -> tuple[NDArray[Any], NDArray[Any] | None, int]:
    if isinstance(parameter, TwoLevel):
        values = np.ascontiguousarray(parameter.values)
        return values, np.ascontiguousarray(parameter.super_scale), parameter.groups_per_super
    return np.ascontiguousarray(parameter), None, 0


def _runs(layout: BlockLayout) -> NDArray[np.int32]:
    rows = [(r.first, r.count, r.byte, r.shift, r.width, r.dest, int(r.packed_bits)) for r in layout.runs]
    return np.array(rows, dtype=np.int32).reshape(len(rows), 7)
