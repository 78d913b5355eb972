"""Number formats and GPTQ: nearest means nearest, a search is never worse than none, and GPTQ beats rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutmac.lowbit.fitting import as_halves, fit
from lutmac.lowbit.formats import AsymmetricIntegers, Format, SmallFloats, SymmetricIntegers, Ternary
from lutmac.lowbit.reference import dequantize
from lutmac.lowbit.rounding import gptq, output_error, round_to_nearest

FORMATS: list[Format] = [
    *(AsymmetricIntegers(bits) for bits in range(1, 9)),
    *(SymmetricIntegers(bits) for bits in range(1, 9)),
    *(SmallFloats(bits, two) for bits in (3, 4) for two in (False, True)),
    Ternary(packed=False),
]
formats = pytest.mark.parametrize("format", FORMATS, ids=repr)


def weights(rows: int = 8, columns: int = 96, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_t(4, (rows, columns)) * 0.02).astype(np.float32)


def levels_of(format: Format, levels: object) -> np.ndarray:
    """All values that a row may have [M, levels]."""
    count = 3 if isinstance(format, Ternary) else 2**format.bits
    codes = np.repeat(np.arange(count, dtype=np.uint8)[None], len(levels.scale), axis=0)  # type: ignore[attr-defined]
    return format.values(codes, levels)  # type: ignore[arg-type]


@formats
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_codes_are_the_nearest(format: Format, seed: int) -> None:
    w = weights(4, 32, seed)
    levels = as_halves(format.widest(w))
    chosen = np.abs(format.values(format.codes(w, levels), levels) - w)
    nearest = np.abs(levels_of(format, levels)[:, None, :] - w[:, :, None]).min(axis=2)
    assert (chosen <= nearest * (1 + 1e-4) + 1e-7).all()


@formats
def test_a_fit_is_no_worse_than_the_widest_levels(format: Format) -> None:
    w = weights()
    importance = np.linspace(0.1, 3, w.shape[1], dtype=np.float32)

    def loss(levels: object) -> np.ndarray:
        return np.square(format.values(format.codes(w, levels), levels) - w) @ importance  # type: ignore[arg-type]

    assert (loss(fit(format, w, importance)) <= loss(as_halves(format.widest(w)))).all()


@formats
def test_the_matrix_stands_for_what_the_format_says(format: Format) -> None:
    w = weights(columns=160)
    matrix = round_to_nearest(w, format, 64)
    for start in range(0, 160, 64):
        group = w[:, start : start + 64]
        levels = fit(format, group)
        assert np.allclose(
            dequantize(matrix)[:, start : start + 64], format.values(format.codes(group, levels), levels)
        )


@formats
@pytest.mark.parametrize("w", [np.zeros((4, 32)), np.full((4, 32), 0.5), np.full((4, 32), -1e-9)], ids=str)
def test_groups_without_spread_are_kept(format: Format, w: np.ndarray) -> None:
    found = dequantize(round_to_nearest(w.astype(np.float32), format, 32))
    assert np.isfinite(found).all()
    assert np.abs(found - w).max() <= np.abs(w).max() + 1e-12


def test_two_scales_fit_lopsided_groups_better() -> None:
    w = weights()
    w = np.where(w > 0, 4 * w, w)
    one, two = (round_to_nearest(w, SmallFloats(4, scales), 96) for scales in (False, True))
    assert output_error(dequantize(two) - w, None) < 0.8 * output_error(dequantize(one) - w, None)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("columns", [160, 256])
def test_gptq_beats_rounding_where_inputs_are_correlated(bits: int, columns: int) -> None:
    rng = np.random.default_rng(bits)
    w = weights(48, columns)
    x = rng.normal(size=(1024, columns)) @ (rng.normal(size=(columns, columns)) * 0.2 + np.eye(columns))
    x[:, 5] = 0  # a dead input
    moments = (x.T @ x / len(x)).astype(np.float32)
    errors = [
        output_error(dequantize(matrix) - w, moments)
        for matrix in (
            gptq(w, AsymmetricIntegers(bits), 64, moments),
            round_to_nearest(w, AsymmetricIntegers(bits), 64),
        )
    ]
    assert errors[0] < 0.8 * errors[1]


def test_gptq_on_white_inputs_is_rounding() -> None:
    """With uncorrelated inputs there is nothing to make good: the same levels, the same codes."""
    w = weights(16, 128)
    moments = np.eye(128, dtype=np.float32)
    assert np.array_equal(
        dequantize(gptq(w, SymmetricIntegers(3), 32, moments)),
        dequantize(round_to_nearest(w, SymmetricIntegers(3), 32)),
    )
