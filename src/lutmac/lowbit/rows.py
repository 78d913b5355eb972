"""Some rows of a matrix, as a view of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lutmac.lowbit.matrix import AnyMatrix, ByteFloats, DenseMatrix, Parameter, TwoLevel


def rows_of(matrix: AnyMatrix, first: int, count: int) -> AnyMatrix:
    """Rows first to first + count - 1."""
    rows = slice(first, first + count)
    if isinstance(matrix, DenseMatrix):
        return DenseMatrix(matrix.data[rows])
    offset = None if matrix.offset is None else _parameter_rows(matrix.offset, rows)
    scale = _parameter_rows(matrix.scale, rows)
    return replace(matrix, rows=count, source=matrix.source[rows], scale=scale, offset=offset)


def _parameter_rows(parameter: Parameter, rows: slice) -> Parameter:
    match parameter:
        case np.ndarray():
            return parameter[rows]
        case TwoLevel():
            return replace(parameter, values=parameter.values[rows], super_scale=parameter.super_scale[rows])
        case ByteFloats():
            return replace(parameter, values=parameter.values[rows])
    return parameter  # what lies in the blocks of the source
