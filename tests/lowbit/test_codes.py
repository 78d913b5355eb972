"""Codebooks and ternary codes on every ISA target against exact arithmetic, within bounds that are derived, not tuned.

Codebooks: an activation is off by at most half a step, the block's largest magnitude over 127 * 256. A value of the
codebook is off by a millionth of the largest, or, where that takes integers of more than 8 bits, by half of a
127 * 256th, and kernels may then leave out the product of the two lower bytes: 255 * 128 of (127 * 256)**2.
Ternary: a LUT group of five weights adds two table entries, each off by at most half a scale. Of the 26 LUT groups of
128 weights 9 share a scale: the largest sum of magnitudes among them over 126, rounded up to a 255th of the largest of
the 26.
On top come float roundings: one per accumulated term, relative to the sum of magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutmac import _native
from lutmac.lowbit.matrix import ByteFloats, LowBitMatrix, TwoLevel, plain_codes
from lutmac.lowbit.packing import pack
from lutmac.lowbit.reference import dequantize

TARGETS = _native.available_targets()
EPSILON = 2.0**-23
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

IQ4_NL = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
FP4 = (0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6)
NF4 = (
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip
POSITIVE = tuple(max(value, 0.0) for value in FP4)
NEGATIVE = tuple(min(value, 0.0) for value in FP4)


@dataclass
class Case:
    """A matrix, what it stands for [M, K] float64, and activations [n, K] with quiet and loud blocks."""

    matrix: LowBitMatrix
    weights: np.ndarray
    x: np.ndarray

    @property
    def exact(self) -> np.ndarray:
        return self.x.astype(np.float64) @ self.weights.T


def per_weight(values: np.ndarray, matrix: LowBitMatrix) -> np.ndarray:
    return np.repeat(values, matrix.group_size, axis=1)[:, : matrix.columns]


def make_scale(rng: np.random.Generator, kind: str, rows: int, groups: int):
    """A scale in one of the kinds, and its exact values [M, G]."""
    if kind == "e8m0":
        exponents = rng.integers(100, 130, (rows, groups)).astype(np.uint8)
        return ByteFloats(exponents, "e8m0"), 2.0 ** (exponents.astype(np.float64) - 127)
    if kind == "e4m3":
        values = rng.integers(0, 127, (rows, groups)).astype(np.uint8)
        exponent, mantissa = (values >> 3).astype(np.float64), (values & 7) / 8
        return ByteFloats(values, "e4m3"), np.where(
            exponent > 0, (1 + mantissa) * 2.0 ** (exponent - 7), mantissa * 2.0**-6
        )
    if kind == "two_level":
        supers = rng.uniform(0.001, 0.01, (rows, -(-groups // 8))).astype(np.float16)
        values = rng.integers(-32, 32, (rows, groups)).astype(np.int8)
        return TwoLevel(values, supers, 8), np.repeat(supers.astype(np.float64), 8, axis=1)[:, :groups] * values
    values = rng.uniform(-0.5, 0.5, (rows, groups)).astype(np.float16 if kind == "f16" else np.float32)
    if kind == "bf16":
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
        return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return values, values.astype(np.float64)


def make_activations(rng: np.random.Generator, tokens: int, columns: int) -> np.ndarray:
    loudness = np.repeat(10.0 ** rng.uniform(-3, 2, (tokens, columns // 32)), 32, axis=1)
    return (rng.standard_normal((tokens, columns)) * loudness).astype(np.float32)


def make_codebook_case(  # noqa: PLR0913, PLR0917 (what varies)
    rng, codebooks, group_size, rows, columns, tokens, scale_kind, offset, factor
) -> Case:
    first, second = codebooks
    size = columns if group_size is None else group_size
    codes = rng.integers(0, 16, (rows, columns)).astype(np.uint8)
    scale, exact_scale = make_scale(rng, scale_kind, rows, -(-columns // size))
    matrix = LowBitMatrix(
        rows, columns, 4, size, codes, plain_codes(), scale, codebook=first, second_codebook=second, factor=factor
    )
    exact_factor = float(np.float32(factor))
    weights = per_weight(exact_scale, matrix) * np.array(first, np.float32).astype(np.float64)[codes] * exact_factor
    if second is not None or offset:
        other, exact_other = make_scale(rng, scale_kind, rows, -(-columns // size))
        values = np.ones(16) if second is None else np.array(second, np.float32).astype(np.float64)
        matrix = replace(matrix, offset=other)
        weights += per_weight(exact_other, matrix) * values[codes] * exact_factor
    return Case(matrix, weights, make_activations(rng, tokens, columns))


def make_ternary_case(  # noqa: PLR0913, PLR0917 (what varies)
    rng, rows, columns, tokens, scale_kind, factor, ternary_group
) -> Case:
    """ternary_group: weights that share a scale, None for a row's."""
    size = columns if ternary_group is None else ternary_group
    codes = rng.integers(0, 3, (rows, columns)).astype(np.uint8)
    scale, exact_scale = make_scale(rng, scale_kind, rows, -(-columns // size))
    matrix = LowBitMatrix(
        rows, columns, 2, size, codes, plain_codes(), scale, zero_point=1.0, ternary=True, factor=factor
    )
    weights = per_weight(exact_scale, matrix) * (codes.astype(np.float64) - 1) * float(np.float32(factor))
    return Case(matrix, weights, make_activations(rng, tokens, columns))


def make_float8_case(  # noqa: PLR0913, PLR0917 (what varies)
    rng, group_size, rows, columns, tokens, scale_kind, float8, factor
) -> Case:
    """Every FP8 number, subnormal ones too, but those that are none. float8: says which case this is."""
    size = columns if group_size is None else group_size
    codes = rng.integers(0, 127, (rows, columns)).astype(np.uint8) | rng.choice([0, 128], (rows, columns)).astype(
        np.uint8
    )
    scale, exact_scale = make_scale(rng, scale_kind, rows, -(-columns // size))
    matrix = LowBitMatrix(rows, columns, 8, size, codes, plain_codes(), scale, float8=float8, factor=factor)
    exponent, mantissa = (codes >> 3 & 15).astype(np.float64), (codes & 7) / 8
    values = np.where(exponent > 0, (1 + mantissa) * 2.0 ** (exponent - 7), mantissa * 2.0**-6)
    values *= np.where(codes & 128, -1, 1)
    weights = per_weight(exact_scale, matrix) * values * float(np.float32(factor))
    return Case(matrix, weights, make_activations(rng, tokens, columns))


def magnitudes(case: Case) -> np.ndarray:
    """The largest magnitude that a weight's terms could have, [M, K] float64."""
    matrix = case.matrix
    if matrix.float8:
        return np.abs(case.weights)
    if matrix.ternary:
        return np.abs(dequantize(replace(matrix, source=np.full_like(matrix.source, 2)))).astype(np.float64)
    largest = np.zeros(case.weights.shape)
    for values, scale in ((matrix.codebook, matrix.scale), (matrix.second_codebook or (1.0,), matrix.offset)):
        if scale is not None:
            alone = replace(
                matrix, codebook=(max(map(abs, values)),) * 16, scale=scale, offset=None, second_codebook=None
            )
            largest += np.abs(dequantize(alone)).astype(np.float64)
    return largest


def rounding_bound(case: Case) -> np.ndarray:
    """Float roundings: every term may be rounded a few times, and sums of K terms K times, [n, M]."""
    return np.abs(case.x).astype(np.float64) @ magnitudes(case).T * EPSILON * (case.matrix.columns / 16 + 8)


def form_bound(case: Case) -> np.ndarray:
    """What the integers may cost, [n, M]."""
    if case.matrix.float8:
        return np.zeros((len(case.x), case.matrix.rows))
    return ternary_bound(case) if case.matrix.ternary else codebook_bound(case)


def codebook_bound(case: Case) -> np.ndarray:
    tokens = len(case.x)
    loudest = np.repeat(np.abs(case.x.astype(np.float64)).reshape(tokens, -1, 32).max(axis=2), 32, axis=1)
    top = 127 * 256
    activations = loudest / top / 2 @ np.abs(case.weights).T
    value_error = 1e-6 + 0.5 / top + 255 * 128 / top**2
    return activations + loudest @ magnitudes(case).T * value_error


def ternary_bound(case: Case) -> np.ndarray:
    tokens, columns = case.x.shape
    bound = np.zeros((tokens, case.matrix.rows))
    for first in range(0, columns, 128):
        block = np.abs(case.x[:, first : first + 128].astype(np.float64))
        padded = np.zeros((tokens, 135))
        padded[:, : block.shape[1]] = block
        lut_groups = padded.reshape(tokens, 3, 9, 5).sum(axis=3).max(axis=2)
        scales = (lut_groups + lut_groups.max(axis=1, keepdims=True) / 255) / 126
        counts = np.clip(-(-block.shape[1] // 5) - 9 * np.arange(3), 0, 9)
        bound += (scales @ counts)[:, None] * np.abs(magnitudes(case)[:, first])
    return bound


SHAPES = {
    "rows": st.integers(1, 150),
    "columns": st.integers(1, 24).map(lambda blocks: blocks * 32),
    "tokens": st.integers(1, 19),
    "scale_kind": st.sampled_from(["f16", "f32", "bf16", "e8m0", "e4m3", "two_level"]),
    "factor": st.sampled_from([1.0, 0.37]),
}
codebook_cases = st.fixed_dictionaries(
    {
        **SHAPES,
        "codebooks": st.sampled_from([(IQ4_NL, None), (FP4, None), (NF4, None), (POSITIVE, NEGATIVE), (FP4, NF4)]),
        "group_size": st.sampled_from([16, 32, 64, 128, 256, None]),
        "offset": st.booleans(),
    }
)
GROUP_SIZES = st.sampled_from([16, 32, 64, 128, 256, None])
float8_cases = st.fixed_dictionaries({**SHAPES, "group_size": GROUP_SIZES, "float8": st.just(True)})
ternary_cases = st.fixed_dictionaries({**SHAPES, "ternary_group": st.sampled_from([128, 256, 384, None])})
cases = st.one_of(codebook_cases, float8_cases, ternary_cases)


def make_case(rng: np.random.Generator, case: dict) -> Case:
    if "float8" in case:
        return make_float8_case(rng, **case)
    return make_codebook_case(rng, **case) if "codebooks" in case else make_ternary_case(rng, **case)


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1))
def test_products_stay_within_the_derived_bound(target, case, seed):
    made = make_case(np.random.default_rng(seed), case)
    packed = pack(made.matrix, target=target, threads=1)
    error = np.abs(packed.matmul(made.x, exact=False, threads=1) - made.exact)
    assert (error <= form_bound(made) + rounding_bound(made)).all()


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1))
def test_exact_mode_is_float_arithmetic(target, case, seed):
    made = make_case(np.random.default_rng(seed), case)
    packed = pack(made.matrix, target=target, threads=1)
    error = np.abs(packed.matmul(made.x, exact=True, threads=1) - made.exact)
    assert (error <= rounding_bound(made)).all()


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1))
def test_rows_come_back(target, case, seed):
    rng = np.random.default_rng(seed)
    made = make_case(rng, case)
    packed = pack(made.matrix, target=target, threads=1)
    ids = rng.integers(0, case["rows"], 5).astype(np.int32)
    rows = packed.unpack_rows(ids)
    assert (np.abs(rows - made.weights[ids]) <= 4 * EPSILON * magnitudes(made)[ids]).all()
    assert (np.abs(dequantize(made.matrix)[ids] - made.weights[ids]) <= 4 * EPSILON * magnitudes(made)[ids]).all()


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1), exact=st.booleans())
def test_a_token_does_not_depend_on_its_batch(target, case, seed, exact):
    made = make_case(np.random.default_rng(seed), case)
    packed = pack(made.matrix, target=target, threads=2)
    together = packed.matmul(made.x, exact=exact, threads=2)
    alone = np.concatenate([packed.matmul(made.x[i : i + 1], exact=exact, threads=1) for i in range(len(made.x))])
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("target", TARGETS)
def test_every_five_trits_come_back_and_take_one_byte(target):
    trits = np.array(np.meshgrid(*[[0, 1, 2]] * 5)).reshape(5, -1).T.astype(np.uint8)  # [243, 5]
    codes = np.ones((243, 160), np.uint8)
    codes[:, 5:155:10] = codes[:, 6:156:10] = 0
    codes[:, 60:65] = trits
    codes[:, 140:145] = trits[::-1]
    scale = np.ones((243, 1), np.float32)
    matrix = LowBitMatrix(243, 160, 2, 160, codes, plain_codes(), scale, zero_point=1.0, ternary=True)
    packed = pack(matrix, target=target, threads=1)
    rows = packed.unpack_rows(np.arange(243, dtype=np.int32))
    np.testing.assert_array_equal(rows, codes.astype(np.float32) - 1)
    tile_rows = 16 if target == "portable" else 64
    assert packed.nbytes <= (243 + tile_rows) * (26 + 8 + 4)  # of 128 weights, and of 32, rounded up; a scale
    assert (packed.codes, packed.bits, packed.form) == ("ternary", 2, "ternary")


@pytest.mark.parametrize("target", TARGETS)
def test_every_fp8_number_comes_back(target):
    """As torch's float8_e4m3fn has them, to the bit; 0x7f and 0xff are not numbers."""
    codes = np.arange(256, dtype=np.uint8).reshape(1, 256)
    matrix = LowBitMatrix(1, 256, 8, 256, codes, plain_codes(), np.ones((1, 1), np.float32), float8=True)
    packed = pack(matrix, target=target, threads=1)
    row = packed.unpack_rows(np.zeros(1, np.int32))[0]
    assert (packed.codes, packed.bits, packed.form) == ("float8", 8, "plain")
    assert np.flatnonzero(np.isnan(row)).tolist() == [127, 255]
    assert row[[0, 1, 7, 8, 56, 126, 129, 254]].tolist() == [0, 2**-9, 7 * 2**-9, 2**-6, 1, 448, -(2.0**-9), -448]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("tokens", [1, 3, 8])
def test_silent_activations_give_zero(target, tokens):
    case = make_ternary_case(np.random.default_rng(0), 70, 96, tokens, "f32", 1.0, None)
    packed = pack(case.matrix, target=target, threads=1)
    assert not packed.matmul(np.zeros((tokens, 96), np.float32), exact=False, threads=1).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 3, "codebook": np.zeros(16, np.float32)}, "codes of a codebook have 4 bits"),
        ({"codebook": np.zeros(15, np.float32)}, "16 values"),
        ({"codebook": np.full(16, np.inf, np.float32)}, "finite"),
        ({"codebook": np.zeros(16, np.float32), "zero_point": 8.0}, "no zero point"),
        ({"codebook": np.zeros(16, np.float32), "second_codebook": np.zeros(16, np.float32)}, "a scale of its own"),
        ({"second_codebook": np.zeros(16, np.float32)}, "beside a first"),
        ({"ternary": True, "bits": 2, "zero_point": 1.0}, "one scale per row, or for groups of a multiple of 128"),
        ({"ternary": True, "group_size": 64, "scale": np.ones((4, 1), np.float32)}, "zero point of 1"),
        ({"ternary": True, "codebook": np.zeros(16, np.float32)}, "not two of them"),
        ({"float8": True, "codebook": np.zeros(16, np.float32)}, "not two of them"),
        ({"float8": True}, "FP8 codes have 8 bits"),
        ({"float8": True, "bits": 8, "offset": np.ones((4, 2), np.float32)}, "no offset"),
        ({"scale": np.ones((4, 2), np.uint8)}, "uint8 with a format"),
        ({"scale": ByteFloats(np.ones((4, 2), np.uint8), "e5m2")}, "unknown kind of scale 'e5m2'"),
        ({"scale": ByteFloats(np.ones((4, 2), np.uint8), "f16")}, "of bytes must be uint8"),
        ({"factor": np.nan}, "factor must be finite"),
    ],
)
def test_contradictions_are_refused(change, message):
    codes, scale = np.zeros((4, 64), np.uint8), np.ones((4, 2), np.float32)
    matrix = LowBitMatrix(4, 64, 4, 32, codes, plain_codes(), scale)
    with pytest.raises(ValueError, match=message):
        pack(replace(matrix, **change), target="portable", threads=1)
