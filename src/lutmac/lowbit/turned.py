"""A matrix whose rows become columns."""

from __future__ import annotations

import numpy as np

from lutmac.lowbit.matrix import AnyMatrix, DenseMatrix
from lutmac.lowbit.reference import dequantize

_LARGEST_HALF = 65504.0


def turned(matrix: AnyMatrix) -> DenseMatrix:
    """The transposed matrix.

    Floats keep their type. Scales of low-bit matrices are for weights of one row, which turning would part: these
    become float16, to 11 bits (float32 if float16 cannot hold them), and take 16 bits each.
    """
    if isinstance(matrix, DenseMatrix):
        return DenseMatrix(np.ascontiguousarray(matrix.data.T))
    weights = dequantize(matrix).T
    kind = np.float16 if np.abs(weights).max(initial=0.0) <= _LARGEST_HALF else np.float32
    return DenseMatrix(np.ascontiguousarray(weights, kind))
