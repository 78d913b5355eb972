"""Handing a checkpoint's matrices to the packing of an ISA target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.lowbit.matrix import AnyMatrix, BlockLayout, ByteFloats, DenseMatrix, LowBitMatrix, Parameter, TwoLevel


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
        scale, scale_super, scale_groups = _levels(matrix.scale)
        offset, offset_super, offset_groups = (None, None, 0) if matrix.offset is None else _levels(matrix.offset)
        return self._native.add_lowbit(
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
            scale_format=_format(matrix.scale),
            offset_format=_format(matrix.offset),
            factor=matrix.factor,
            codebook=_values(matrix.codebook),
            second_codebook=_values(matrix.second_codebook),
            ternary=matrix.ternary,
        )


def pack(matrix: AnyMatrix, *, target: str, threads: int) -> _native.Matrix:
    """One matrix in the order that the target's kernels read. Its source is not needed afterwards."""
    packer = Packer(target=target, threads=threads)
    packed = packer.add(matrix)
    packer.finish()
    return packed


def _levels(parameter: Parameter) -> tuple[NDArray[Any], NDArray[Any] | None, int]:
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


def _runs(layout: BlockLayout) -> NDArray[np.int32]:
    rows = [(r.first, r.count, r.byte, r.shift, r.width, r.dest, int(r.packed_bits)) for r in layout.runs]
    return np.array(rows, dtype=np.int32).reshape(len(rows), 7)
