"""What is written in a tensor type of GGUF is read back as it was, and `gguf` reads the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize as gguf_dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from lutmac.checkpoints.gguf_encoding import FILE_TYPES, encode
from lutmac.checkpoints.gguf_types import as_matrix
from lutmac.lowbit.matrix import Array, LowBitMatrix, plain_codes
from lutmac.lowbit.reference import codes, dequantize, parameter_values
from lutmac.lowbit.rounding import round_to_nearest
from lutmac.lowbit.two_level import K_QUANTS, two_level_scales
from random_blocks import random_blocks, values_of


def with_plain_codes(matrix: LowBitMatrix) -> LowBitMatrix:
    """The matrix with a code per byte, scales and offsets in arrays of their own."""
    offset = None if matrix.offset is None else parameter_values(matrix.offset, matrix)
    scale = parameter_values(matrix.scale, matrix)
    return replace(matrix, source=codes(matrix), layout=plain_codes(), scale=scale, offset=offset, factor=1.0)


@pytest.mark.parametrize("kind", FILE_TYPES)
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(1, 4), blocks=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_any_block_is_encoded_as_it_was_read(kind: str, rows: int, blocks: int, seed: int) -> None:
    data, values = random_blocks(kind, (rows, 256 * blocks), np.random.default_rng(seed))
    matrix = as_matrix(kind, rows, 256 * blocks, data.reshape(-1))
    assert isinstance(matrix, LowBitMatrix)
    plain = with_plain_codes(matrix)
    if matrix.factor != 1.0:  # Q1_0's signs are halves of a scale
        assert isinstance(plain.scale, np.ndarray)
        plain = replace(plain, scale=plain.scale * np.float16(matrix.factor))
    assert np.array_equal(dequantize(plain), values)
    assert np.array_equal(encode(kind, plain).reshape(rows, -1), data)


@pytest.mark.parametrize("kind", K_QUANTS)
@pytest.mark.parametrize("shift", [0.0, -0.05])
def test_k_quants_are_nearly_as_good_as_scales_in_float16(kind: str, shift: float) -> None:
    """Integers of 4 bits are off by up to 1/30 of the largest, those of 6 bits by far less.

    Deviations are 0.01: with the shift all weights are below 0, which an offset is made for.
    """
    w = weights() + np.float32(shift)
    own = K_QUANTS[kind]
    matrix = round_to_nearest(w, own.format, own.group_size, scales=two_level_scales(own, w))
    halves = round_to_nearest(w, own.format, own.group_size)
    error, best = (np.square(dequantize(m) - w).sum() for m in (matrix, halves))
    assert error < 1.25 * best
    expected = gguf_dequantize(encode(kind, matrix).reshape(len(w), -1), GGMLQuantizationType[kind])
    assert np.array_equal(dequantize(matrix), expected)


@pytest.mark.parametrize("kind", K_QUANTS)
def test_k_quants_of_zeros_are_zeros(kind: str) -> None:
    own, w = K_QUANTS[kind], np.zeros((2, 512), np.float32)
    w[1, 300] = 0.5
    matrix = round_to_nearest(w, own.format, own.group_size, scales=two_level_scales(own, w))
    assert np.abs(dequantize(matrix) - w).max() <= 0.01
    assert not dequantize(matrix)[0].any()
    assert np.array_equal(values_of(kind, encode(kind, matrix).reshape(2, -1)), dequantize(matrix))


def weights() -> Array:
    return (np.random.default_rng(0).standard_normal((16, 512)) * 0.01).astype(np.float32)
