"""Unpacking against the definition: a string of bits, the lowest first."""

from __future__ import annotations

import numpy as np
import pytest

from lutmac.checkpoints.packed_codes import codes_along_columns, codes_along_rows


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 31, 32, 96, 100])
def test_codes_come_back_whatever_their_width(bits: int, count: int) -> None:
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, (2000, count), dtype=np.uint8)
    strings = np.unpackbits(codes[:, :, None], axis=2, count=bits, bitorder="little").reshape(len(codes), -1)
    padded = np.pad(strings, ((0, 0), (0, -strings.shape[1] % 32)))
    words = np.packbits(padded, axis=1, bitorder="little").view("<i4")
    np.testing.assert_array_equal(codes_along_rows(words, bits, count), codes)
    np.testing.assert_array_equal(codes_along_columns(words.T, bits, count), codes)
