"""Packing many matrices, whole or piece by piece."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lutmac import _native
from lutmac.lowbit.matrix import DenseMatrix
from lutmac.lowbit.packing import Packer


@pytest.mark.parametrize("target", _native.available_targets())
@pytest.mark.parametrize("most_bytes", [1, 5000, sys.maxsize])
def test_pieces_make_the_same_matrices(target: str, most_bytes: int) -> None:
    rng = np.random.default_rng(3)
    given = [rng.normal(size=shape).astype(np.float32) for shape in ((70, 64), (1, 32), (130, 96))]
    packer = Packer(target=target, threads=2)
    packed = [packer.add(DenseMatrix(values)) for values in given]
    pieces = 1
    while not packer.pack(most_bytes):
        pieces += 1
    assert (pieces == 1) == (most_bytes == sys.maxsize)
    for matrix, values in zip(packed, given, strict=True):
        assert (matrix.unpack_rows(np.arange(len(values), dtype=np.int32)) == values).all()
    assert packer.pack(1)  # nothing is left
