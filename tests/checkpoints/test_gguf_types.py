"""Each tensor type becomes a matrix that means exactly what `gguf` dequantises it to, element by element."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize as gguf_dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from lutmac.checkpoints import open_gguf
from lutmac.checkpoints.gguf_types import SUPPORTED_TYPES, as_matrix
from lutmac.lowbit.matrix import Array, DenseMatrix, LowBitMatrix, TwoLevel
from lutmac.lowbit.reference import codes, dequantize

KINDS = {name: gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] for name in SUPPORTED_TYPES}
LOW_BIT = [name for name in SUPPORTED_TYPES if not name.endswith(("F32", "F16"))]


def random_tensor(kind: str, rows: int, blocks: int, seed: int) -> Array:
    """Any bytes are blocks of any type; infinities and NaNs among the scales included."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (rows, blocks * KINDS[kind][1]), np.uint8)


@pytest.mark.parametrize("kind", SUPPORTED_TYPES)
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 5), blocks=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # gguf multiplies the infinities that random scales hold
def test_random_blocks_mean_what_gguf_says(kind: str, rows: int, blocks: int, seed: int) -> None:
    if kind not in LOW_BIT:
        blocks *= 32
    data = random_tensor(kind, rows, blocks, seed)
    expected = gguf_dequantize(data, gguf.GGMLQuantizationType[kind])
    found = dequantize(as_matrix(kind, rows, blocks * KINDS[kind][0], data.reshape(-1)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.reshape(rows, -1))


@pytest.mark.parametrize("kind", LOW_BIT)
def test_matrices_keep_the_contract(kind: str) -> None:
    rows, blocks = 6, 3
    data = random_tensor(kind, rows, blocks, 1).reshape(-1)
    data.flags.writeable = False
    columns = blocks * KINDS[kind][0]
    matrix = as_matrix(kind, rows, columns, data)
    assert isinstance(matrix, LowBitMatrix)
    assert (matrix.rows, matrix.columns) == (rows, columns)
    assert np.shares_memory(matrix.source, data)
    assert matrix.source.flags.c_contiguous
    assert matrix.source.shape == (rows, blocks * matrix.layout.block_bytes)
    assert codes(matrix).max() < 2**matrix.bits
    for parameter in (matrix.scale, matrix.offset):
        if parameter is None:
            continue
        groups = columns // matrix.group_size
        if isinstance(parameter, TwoLevel):
            assert parameter.values.dtype == np.int8
            assert parameter.values.shape == (rows, groups)
            assert parameter.super_scale.shape == (rows, groups // parameter.groups_per_super)
            small, large = parameter.values, parameter.super_scale
        else:
            assert parameter.shape == (rows, groups)
            small = large = parameter
        assert large.dtype == np.float16
        assert small.flags.c_contiguous
        assert large.flags.c_contiguous


@pytest.mark.parametrize("kind", LOW_BIT)
def test_every_code_of_a_block_is_reached(kind: str) -> None:
    """All bits of the codes set or clear give the largest and the smallest code everywhere."""
    block_weights, block_bytes = KINDS[kind]
    for fill in (0x00, 0xFF):
        matrix = as_matrix(kind, 1, block_weights, np.full(block_bytes, fill, np.uint8))
        assert isinstance(matrix, LowBitMatrix)
        expected = (2**matrix.bits - 1 if fill else 0) ^ matrix.layout.xor
        assert (codes(matrix) == expected).all()


def test_dense_matrices_are_views(tmp_path: Path) -> None:
    data = np.arange(64, dtype=np.float32)
    for kind, dtype in {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}.items():
        matrix = as_matrix(kind, 2, 8, data.view(np.uint8)[: 16 * np.dtype(dtype).itemsize])
        assert isinstance(matrix, DenseMatrix)
        assert matrix.data.dtype == dtype
        assert np.shares_memory(matrix.data, data)


def test_smollm2_means_what_gguf_says(smollm2_path: Path) -> None:
    ours = open_gguf(smollm2_path)
    for tensor in gguf.GGUFReader(smollm2_path).tensors:
        if len(tensor.shape) == 1:
            np.testing.assert_array_equal(ours.vector(tensor.name), tensor.data)
        elif tensor.name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.29.ffn_down.weight"):
            expected = gguf_dequantize(tensor.data, tensor.tensor_type)
            np.testing.assert_array_equal(dequantize(ours.matrix(tensor.name)), expected)
