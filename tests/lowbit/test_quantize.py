"""Quantising and multiplying, from NumPy to NumPy."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lutmac
from lutmac.errors import CheckpointError, InvalidRequestError, UnsupportedISAError


def weights(rows: int = 40, columns: int = 96, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(4, 8),
    group_size=st.sampled_from([16, 32, 64, 128, None]),
    scale_dtype=st.sampled_from(["float16", "float32"]),
    shape=st.tuples(st.integers(1, 70), st.sampled_from([1, 32, 33, 96, 100, 160, 576])),
    seed=st.integers(0, 5),
)
def test_asymmetric_error_is_half_a_step(
    bits: int, group_size: int | None, scale_dtype: Any, shape: tuple[int, int], seed: int
) -> None:
    w = weights(*shape, seed)
    matrix = lutmac.quantize(w, bits, group_size, scale_dtype=scale_dtype)
    size = group_size or shape[1]
    for start in range(0, shape[1], size):
        group = w[:, start : start + size]
        step = (group.max(axis=1) - group.min(axis=1)) / (2**bits - 1)
        rounding = 0 if scale_dtype == "float32" else np.abs(group).max(axis=1) * 2.0**-9
        error = np.abs(matrix.dequantize()[:, start : start + size] - group).max(axis=1)
        assert (error <= step / 2 + rounding + 1e-5).all()


@pytest.mark.parametrize("bits", range(2, 9))
def test_symmetric_keeps_zero_and_the_extreme(bits: int) -> None:
    w = weights()
    w[:, 5], w[:, 7] = 0, 9
    found = lutmac.quantize(w, bits, symmetric=True, scale_dtype="float32").dequantize()
    assert (found[:, 5] == 0).all()
    np.testing.assert_allclose(found[:, 7], 9, rtol=1e-6)


def test_one_bit_symmetric_is_sign_times_mean_magnitude() -> None:
    w = weights(8, 64)
    found = lutmac.quantize(w, 1, 32, symmetric=True, scale_dtype="float32").dequantize()
    means = np.repeat(np.abs(w).reshape(8, 2, 32).mean(axis=2), 32, axis=1)
    np.testing.assert_allclose(found, np.sign(w) * means, rtol=1e-5)


# Of normal weights in groups of 128. Symmetric levels leave 0.600, 0.424, 0.208 and 0.103.
@pytest.mark.parametrize(("bits", "most"), [(1, 0.60), (2, 0.34), (3, 0.18), (4, 0.101)])
def test_few_levels_are_where_most_weights_are(bits: int, most: float) -> None:
    w = weights(64, 1024)
    errors = [
        np.linalg.norm(lutmac.quantize(w, bits, symmetric=symmetric).dequantize() - w) / np.linalg.norm(w)
        for symmetric in (False, True)
    ]
    assert errors[0] <= most
    assert errors[0] <= errors[1]


def test_constant_groups_are_kept() -> None:
    w = np.full((3, 64), 0.75, dtype=np.float32)
    np.testing.assert_array_equal(lutmac.quantize(w, 4).dequantize(), w)
    np.testing.assert_array_equal(lutmac.quantize(0 * w, 4, symmetric=True).dequantize(), 0 * w)


@pytest.mark.parametrize("bits", range(1, 9))
def test_matmul_is_the_product_with_the_dequantized_weights(bits: int) -> None:
    matrix = lutmac.quantize(weights(100, 256), bits, 64)
    x = np.random.default_rng(1).normal(size=(5, 256)).astype(np.float32)
    expected = x.astype(np.float64) @ matrix.dequantize().astype(np.float64).T
    exact = lutmac.matmul(x, matrix, precision="exact")
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, expected, atol=1e-3)
    error = np.linalg.norm(lutmac.matmul(x, matrix) - expected) / np.linalg.norm(expected)
    assert error < 1e-2


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("columns", [1, 31, 33, 100, 129])
@pytest.mark.parametrize("symmetric", [False, True])
def test_inputs_of_any_width(bits: int, columns: int, symmetric: bool) -> None:
    w, x = weights(5, columns), weights(3, columns, seed=1)
    matrix = lutmac.quantize(w, bits, symmetric=symmetric)
    assert (matrix.shape, matrix.dequantize().shape) == ((5, columns), (5, columns))
    expected = x @ matrix.dequantize().T
    np.testing.assert_allclose(lutmac.matmul(x, matrix, precision="exact"), expected, atol=1e-4)
    np.testing.assert_array_equal(matrix @ x.T, lutmac.matmul(x, matrix).T)


@pytest.mark.parametrize("bits", range(1, 9))
def test_saved_and_pickled(bits: int, tmp_path: Path) -> None:
    matrix = lutmac.quantize(weights(37, 100), bits, scale_dtype="float32" if bits == 5 else "float16")
    x = weights(2, 100, seed=4)
    matrix.save(tmp_path / "matrix")
    for copy in (pickle.loads(pickle.dumps(matrix)), lutmac.QuantizedMatrix.load(tmp_path / "matrix")):
        assert repr(copy) == repr(matrix)
        np.testing.assert_array_equal(lutmac.matmul(x, copy), lutmac.matmul(x, matrix))
    other = lutmac.QuantizedMatrix.load(tmp_path / "matrix", isa="portable")  # another CPU's packing
    np.testing.assert_allclose(other.dequantize(), matrix.dequantize(), rtol=1e-5, atol=1e-6)  # fused, or not
    assert [path.name for path in tmp_path.iterdir()] == ["matrix"]


def test_a_file_that_is_no_matrix(tmp_path: Path) -> None:
    matrix, path = lutmac.quantize(weights()), tmp_path / "matrix.npz"
    matrix.save(path)
    whole = path.read_bytes()
    for data in (b"", b"PK", whole[: len(whole) // 2], b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"matrix\.npz: "):
            lutmac.QuantizedMatrix.load(path)
    np.savez(path, description=np.frombuffer(b'{"version": 1}', np.uint8))
    with pytest.raises(CheckpointError, match="holds no quantised matrix"):
        lutmac.QuantizedMatrix.load(path)
    with pytest.raises(CheckpointError, match="No such file"):
        lutmac.QuantizedMatrix.load(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="cannot be written"):
        matrix.save(tmp_path / "missing" / "matrix")


def test_a_vector_gives_a_vector_and_the_same_bits() -> None:
    matrix = lutmac.quantize(weights(), 3)
    x = weights(7, 96, seed=3)
    together = lutmac.matmul(x, matrix, threads=2)
    assert together.shape == (7, 40)
    for row in range(7):
        np.testing.assert_array_equal(lutmac.matmul(x[row], matrix, threads=1), together[row])


def test_what_a_matrix_tells_of_itself() -> None:
    matrix = lutmac.quantize(weights(64, 128), 2, 64)
    assert (matrix.shape, matrix.bits, matrix.group_size) == ((64, 128), 2, 64)
    assert matrix.nbytes == 64 * (128 * 2 // 8 + 2 * 2 * 2)  # codes; a scale and an offset of 2 bytes per group


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": np.zeros(32)}, "shape"),
        ({"weights": np.zeros((0, 32))}, "shape"),
        ({"weights": np.full((4, 32), np.nan)}, "not finite"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 9}, "bits is 9"),
        ({"group_size": 48}, "group_size is 48"),
        ({"scale_dtype": "float64"}, "scale_dtype"),
        ({"weights": np.full((4, 32), 1e30)}, "too large for float16"),
        ({"weights": weights() * 1e-6}, "too small for float16"),
        ({"weights": weights() * 1e-38, "scale_dtype": "float32"}, "too small for float32"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        lutmac.quantize(**{"weights": weights(), **arguments})


def test_an_unknown_isa_is_an_error() -> None:
    with pytest.raises(UnsupportedISAError, match="sse9"):
        lutmac.quantize(weights(), isa="sse9")


@pytest.mark.parametrize("x", [np.zeros(95), np.zeros((2, 3, 96)), np.full((1, 96), np.inf)])
def test_activations_that_do_not_fit_are_an_error(x: np.ndarray) -> None:
    with pytest.raises(InvalidRequestError, match="x "):
        lutmac.matmul(x, lutmac.quantize(weights()))
