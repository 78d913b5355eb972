"""Each tensor type becomes a matrix that means exactly what `gguf` dequantises it to, element by element."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize as gguf_dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from lutmac.checkpoints import open_gguf
from lutmac.checkpoints.gguf_grids import grid
from lutmac.checkpoints.gguf_types import SUPPORTED_TYPES, TENSOR_TYPES, as_matrix
from lutmac.lowbit.matrix import Array, ByteFloats, DenseMatrix, LowBitMatrix, TwoLevel, plain_codes
from lutmac.lowbit.packing import pack
from lutmac.lowbit.reference import codes, dequantize, parameter_values
from random_blocks import values_of

KINDS = {kind.name: (kind.block_weights, kind.block_bytes) for kind in TENSOR_TYPES.values()}
WHOLE = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F64": np.float64}
DENSE = ("F32", "F16", "BF16", *WHOLE)
LOW_BIT = [name for name in SUPPORTED_TYPES if name not in DENSE]
VECTORS = tuple(name for name in LOW_BIT if name.startswith(("IQ1", "IQ2", "IQ3")))
# Where the scales of a block lie that are floats of a byte, and which bytes are none: E8M0's 255 is no number, E4M3's
# 0x7f is 0 to ggml, and the sign over it means nothing.
BYTE_SCALES = {"MXFP4": (1, {255}), "NVFP4": (4, {0xFF})}


def random_tensor(kind: str, rows: int, blocks: int, seed: int) -> Array:
    """Any bytes are blocks of any type; infinities and NaNs among the scales included."""
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, (rows, blocks, KINDS[kind][1]), np.uint8)
    count, undefined = BYTE_SCALES.get(kind, (0, set()))
    scales = data[..., :count]
    scales[np.isin(scales, list(undefined))] = 1
    return data.reshape(rows, -1)


def expected_values(kind: str, data: Array) -> Array:
    """What the bytes [M, row_bytes] of a type stand for, float32 [M, K]."""
    if kind in WHOLE:
        return data.view(WHOLE[kind]).astype(np.float32)
    return values_of(kind, data)


@pytest.mark.parametrize("kind", SUPPORTED_TYPES)
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 5), blocks=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # gguf multiplies the infinities that random scales hold
def test_random_blocks_mean_what_gguf_says(kind: str, rows: int, blocks: int, seed: int) -> None:
    if kind not in LOW_BIT:
        blocks *= 32
    data = random_tensor(kind, rows, blocks, seed)
    expected = expected_values(kind, data)
    found = dequantize(as_matrix(kind, rows, blocks * KINDS[kind][0], data.reshape(-1)))
    assert found.dtype == np.float32
    assert_same(found, expected)


def assert_same(found: Array, expected: Array) -> None:
    """Bit for bit where the scale is finite; elsewhere no finite number, though inf - inf may depend on the order."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    np.testing.assert_array_equal(found[finite], expected[finite])


@pytest.mark.parametrize("kind", LOW_BIT)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_packed_rows_mean_what_gguf_says(kind: str, isa_target: str) -> None:
    """The native packer reads the same description; more rows than a tile, more columns than a vector."""
    rows, blocks = 70, max(1, 512 // KINDS[kind][0])
    data = random_tensor(kind, rows, blocks, 5)
    matrix = as_matrix(kind, rows, blocks * KINDS[kind][0], data.reshape(-1))
    assert isinstance(matrix, LowBitMatrix)
    found = pack(matrix, target=isa_target, threads=2).unpack_rows(np.arange(rows, dtype=np.int32))
    expected = expected_values(kind, data)
    # A packed row is scale * code + (offset - scale * zero point): three roundings of numbers no larger than this.
    bound = 3 * 2.0**-24 * largest_terms(matrix)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    assert (np.abs(found - expected)[finite] <= bound[finite]).all()


def largest_terms(matrix: LowBitMatrix) -> Array:
    """|scale| * largest code + |offset| for each weight."""
    terms = np.zeros((matrix.rows, matrix.columns))
    largest = 2.0**matrix.bits if matrix.codebook is None else max(map(abs, matrix.codebook))
    for parameter, factor in ((matrix.scale, largest), (matrix.offset, 1.0)):
        if parameter is not None:
            flat = replace(
                matrix,
                layout=plain_codes(),
                source=np.ones((matrix.rows, matrix.columns), np.uint8),
                offset=None,
                scale=parameter_values(parameter, matrix),
                codebook=None,
                zero_point=0.0,
                ternary=False,
            )
            terms += np.abs(dequantize(flat)) * factor
    return terms


@pytest.mark.parametrize("kind", LOW_BIT)
def test_matrices_keep_the_contract(kind: str) -> None:
    rows, blocks = 6, 3
    data = random_tensor(kind, rows, blocks, 1).reshape(-1)
    data.flags.writeable = False
    columns = blocks * KINDS[kind][0]
    matrix = as_matrix(kind, rows, columns, data)
    assert isinstance(matrix, LowBitMatrix)
    assert (matrix.rows, matrix.columns) == (rows, columns)
    assert (matrix.layout.block_weights, matrix.layout.block_bytes) == KINDS[kind]
    assert np.shares_memory(matrix.source, data)
    assert matrix.source.flags.c_contiguous
    assert matrix.source.shape == (rows, blocks * matrix.layout.block_bytes)
    assert codes(matrix).max() < 2**matrix.bits
    groups = columns // matrix.group_size
    for parameter in (matrix.scale, matrix.offset):
        if parameter is None:
            continue
        values = parameter_values(parameter, matrix)
        if isinstance(values, TwoLevel):
            assert values.values.dtype == np.int8
            assert values.values.shape == (rows, groups)
            assert values.super_scale.shape == (rows, groups // values.groups_per_super)
        elif isinstance(values, ByteFloats):
            assert values.values.dtype == np.uint8
            assert values.values.shape == (rows, groups)
        else:
            assert values.dtype == np.float16
            assert values.shape == (rows, groups)


@pytest.mark.parametrize("kind", [kind for kind in LOW_BIT if kind not in VECTORS])
def test_every_code_of_a_block_is_reached(kind: str) -> None:
    """All bits of the codes set or clear give the largest and the smallest code everywhere."""
    block_weights, block_bytes = KINDS[kind]
    for fill in (0x00, 0xFF):
        matrix = as_matrix(kind, 1, block_weights, np.full(block_bytes, fill, np.uint8))
        assert isinstance(matrix, LowBitMatrix)
        largest = 2 if kind in ("TQ1_0", "PTQ1_0") else 2**matrix.bits - 1
        expected = (largest if fill else 0) ^ matrix.layout.xor
        assert (codes(matrix) == expected).all()


@pytest.mark.parametrize("kind", ["IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"])
def test_grids_are_those_of_gguf(kind: str) -> None:
    theirs = getattr(gguf.quants, kind)
    theirs.init_grid()
    assert theirs.grid is not None
    levels = np.array(theirs.grid_map, np.float32)
    np.testing.assert_array_equal(levels[grid(kind)], theirs.grid.reshape(theirs.grid_shape))


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
