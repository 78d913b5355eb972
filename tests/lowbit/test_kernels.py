"""Every kernel of every ISA target against exact arithmetic, within bounds that are derived, not tuned.

Tables: an entry is off by at most half a step, and a block of 32 activations takes 8 lookups for each of the planes 1,
2, 4, …: at most 8 * (2**bits - 1) * 0.5 in units of the table, each worth half a step of the block times the scale.
Integers: an activation is off by at most half a step, so a product by |W| * step / 2.
On top come float roundings: one per accumulated term, relative to the sum of magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutmac import _native
from lutmac.lowbit.matrix import BitFields, BlockLayout, DenseMatrix, InBlocks, LowBitMatrix, TwoLevel, plain_codes
from lutmac.lowbit.packing import pack

TARGETS = _native.available_targets()
EPSILON = 2.0**-23
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass
class Case:
    """A low-bit matrix, its exact weights, and activations with quiet and loud blocks."""

    matrix: LowBitMatrix
    weights: np.ndarray  # [M, K] float64
    scale: np.ndarray  # [M, K] float64
    x: np.ndarray  # [n, K] float32


def spread(values: np.ndarray, group_size: int, columns: int) -> np.ndarray:
    """[M, G] -> [M, K]."""
    return np.repeat(values, group_size, axis=1)[:, :columns]


def make_parameter(rng: np.random.Generator, kind: str, rows: int, groups: int, signed: bool):
    """A scale or offset in one of the kinds, and its exact values [M, G]."""
    low = -0.5 if signed else 0.01
    if kind in ("f16", "f32"):
        values = rng.uniform(low, 0.5, (rows, groups)).astype(np.float16 if kind == "f16" else np.float32)
        return values, values.astype(np.float64)
    per_super = 8
    supers = rng.uniform(0.001, 0.01, (rows, -(-groups // per_super))).astype(np.float16)
    values = rng.integers(-63 if signed else 1, 64, (rows, groups)).astype(np.int8)
    exact = np.repeat(supers.astype(np.float64), per_super, axis=1)[:, :groups] * values
    return TwoLevel(values, supers, per_super), exact


def make_case(  # noqa: PLR0913, PLR0917 (what varies)
    rng, bits, group_size, rows, columns, tokens, scale_kind, offset_kind
) -> Case:
    size = columns if group_size is None else group_size
    groups = -(-columns // size)
    codes = rng.integers(0, 2**bits, (rows, columns)).astype(np.uint8)
    scale, exact_scale = make_parameter(rng, scale_kind, rows, groups, signed=False)
    offset, exact_offset = None, np.zeros((rows, groups))
    if offset_kind != "none":
        offset, exact_offset = make_parameter(rng, offset_kind, rows, groups, signed=True)
    zero_point = float(rng.choice([0.0, 2 ** (bits - 1), 0.5]))
    matrix = LowBitMatrix(rows, columns, bits, size, codes, plain_codes(), scale, zero_point, offset)
    scales = spread(exact_scale, size, columns)
    weights = scales * (codes - zero_point) + spread(exact_offset, size, columns)
    loudness = np.repeat(10.0 ** rng.uniform(-3, 2, (tokens, columns // 32)), 32, axis=1)
    x = (rng.standard_normal((tokens, columns)) * loudness).astype(np.float32)
    return Case(matrix, weights, scales, x)


def rounding_bound(case: Case) -> np.ndarray:
    """Float roundings: every term may be rounded a few times, and sums of K terms K times, [n, M]."""
    codes = np.abs(case.matrix.source.astype(np.float64)) + abs(case.matrix.zero_point)
    magnitudes = case.scale * (codes + 128) + np.abs(case.weights)
    return np.abs(case.x).astype(np.float64) @ magnitudes.T * EPSILON * (case.matrix.columns / 16 + 8)


def form_bound(case: Case) -> np.ndarray:
    """What rounding the activations' form may cost, [n, M]."""
    tokens, columns = case.x.shape
    blocks = np.abs(case.x.astype(np.float64)).reshape(tokens, columns // 32, 32)
    if case.matrix.bits == 8:
        steps = blocks.max(axis=2) / (127 * 256)
        per_activation = np.repeat(steps / 2, 32, axis=1)
        return per_activation @ np.abs(case.weights).T
    # A scale is a multiple of a 15th of the largest among its unit of 128 activations, rounded up.
    largest = blocks.reshape(tokens, -1, 8, 4).sum(axis=3).max(axis=2)
    units = np.pad(largest, ((0, 0), (0, -largest.shape[1] % 4))).reshape(tokens, -1, 4).max(axis=2)
    half_scales = (largest + np.repeat(units, 4, axis=1)[:, : largest.shape[1]] / 15) / 254
    per_block = case.scale.reshape(-1, columns // 32, 32).max(axis=2)
    return half_scales @ per_block.T * (4 * (2**case.matrix.bits - 1))


cases = st.fixed_dictionaries(
    {
        "bits": st.integers(1, 8),
        "group_size": st.sampled_from([16, 32, 64, 128, 256, None]),
        "rows": st.integers(1, 150),
        "columns": st.integers(1, 24).map(lambda blocks: blocks * 32),
        "tokens": st.integers(1, 19),
        "scale_kind": st.sampled_from(["f16", "f32", "two_level"]),
        "offset_kind": st.sampled_from(["none", "f16", "f32", "two_level"]),
    }
)


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1))
def test_products_stay_within_the_derived_bound(target, case, seed):
    made = make_case(np.random.default_rng(seed), **case)
    packed = pack(made.matrix, target=target, threads=1)
    exact = made.x.astype(np.float64) @ made.weights.T
    error = np.abs(packed.matmul(made.x, exact=False, threads=1) - exact)
    assert (error <= form_bound(made) + rounding_bound(made)).all()


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1))
def test_exact_mode_is_float_arithmetic(target, case, seed):
    made = make_case(np.random.default_rng(seed), **case)
    packed = pack(made.matrix, target=target, threads=1)
    error = np.abs(packed.matmul(made.x, exact=True, threads=1) - made.x.astype(np.float64) @ made.weights.T)
    assert (error <= rounding_bound(made)).all()


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1))
def test_rows_come_back(target, case, seed):
    rng = np.random.default_rng(seed)
    made = make_case(rng, **case)
    packed = pack(made.matrix, target=target, threads=1)
    ids = rng.integers(0, case["rows"], 5).astype(np.int32)
    magnitude = np.abs(made.weights[ids]) + made.scale[ids] * (made.matrix.source[ids] + abs(made.matrix.zero_point))
    assert (np.abs(packed.unpack_rows(ids) - made.weights[ids]) <= 4 * EPSILON * magnitude).all()


@pytest.mark.parametrize("target", TARGETS)
@EXAMPLES
@given(case=cases, seed=st.integers(0, 2**32 - 1), exact=st.booleans())
def test_a_token_does_not_depend_on_its_batch(target, case, seed, exact):
    made = make_case(np.random.default_rng(seed), **case)
    packed = pack(made.matrix, target=target, threads=2)
    together = packed.matmul(made.x, exact=exact, threads=2)
    alone = np.concatenate([packed.matmul(made.x[i : i + 1], exact=exact, threads=1) for i in range(len(made.x))])
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@EXAMPLES
@given(rows=st.integers(1, 150), blocks=st.integers(1, 24), tokens=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_dense_products(target, dtype, rows, blocks, tokens, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((rows, blocks * 32)).astype(np.float32)
    if dtype == "bfloat16":
        data = (weights.view(np.uint32) >> 16).astype(np.uint16)
        weights = (data.astype(np.uint32) << 16).view(np.float32)
    else:
        data = weights.astype(dtype)
        weights = data.astype(np.float32)
    x = rng.standard_normal((tokens, blocks * 32)).astype(np.float32)
    packed = pack(DenseMatrix(data), target=target, threads=2)
    product = packed.matmul(x, exact=False, threads=2)
    magnitude = np.abs(x).astype(np.float64) @ np.abs(weights).astype(np.float64).T
    assert (np.abs(product - x.astype(np.float64) @ weights.T) <= EPSILON * (blocks * 32) * magnitude).all()
    assert (packed.unpack_rows(np.arange(rows, dtype=np.int32)) == weights).all()
    first = packed.matmul(x[:1], exact=False, threads=1)
    assert first.tobytes() == product[:1].tobytes()
    rounded = packed.matmul(x, exact=False, rounded=True, threads=2)
    # Of bf16 each factor is off by 2^-9 of itself at most.
    allowed = 2.0**-7 if packed.rounded_form == "bf16" else EPSILON * (blocks * 32)
    assert (np.abs(rounded - x.astype(np.float64) @ weights.T) <= allowed * magnitude).all()
    first = packed.matmul(x[:1], exact=False, rounded=True, threads=1)
    assert first.tobytes() == rounded[:1].tobytes()


def test_halves_of_every_value_come_back_exactly():
    data = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(-1, 32)
    for target in TARGETS:
        packed = pack(DenseMatrix(data), target=target, threads=1)
        rows = packed.unpack_rows(np.arange(len(data), dtype=np.int32))
        np.testing.assert_array_equal(rows, data.astype(np.float32))


def halves_over_integers(count):
    """A float16 with so many integers below it."""
    return InBlocks((BitFields(0, 1, 0, 0, 16),), (BitFields(0, count, 2, 0, 8),))


def plain_run(first, count, byte, shift, width, dest):
    return BlockLayout(32, 32, (BitFields(first, count, byte, shift, width, dest),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9}, "bits must be 1 to 8"),
        ({"group_size": 24, "scale": np.ones((4, 3), np.float32)}, "group size must be 16 or a multiple of 32"),
        ({"columns": 48}, "multiple of 32"),
        ({"layout": plain_run(0, 32, 1, 0, 8, 0)}, "reads past its block"),
        ({"layout": plain_run(0, 32, 0, 1, 8, 0)}, "reads past its block"),
        ({"layout": plain_run(1, 32, 0, 0, 8, 0)}, "outside its block"),
        ({"layout": plain_run(0, 31, 0, 0, 8, 0)}, "must make up every number"),
        ({"layout": plain_run(0, 32, 0, 0, 8, 1)}, "writes past its number"),
        ({"scale": None}, "needs scales"),
        ({"scale": halves_over_integers(2)}, "outside its block"),
        ({"scale": np.ones((4, 3), np.float32)}, "one value per row and group"),
    ],
)
def test_contradictions_are_refused(change, message):
    codes, scale = np.zeros((4, 64), np.uint8), np.ones((4, 2), np.float32)
    matrix = LowBitMatrix(4, 64, 4, 32, codes, plain_run(0, 32, 0, 0, 8, 0), scale)
    with pytest.raises(ValueError, match=message):
        pack(replace(matrix, **change), target="portable", threads=1)


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="unknown ISA target 'sse9'"):
        _native.Packer(target="sse9", threads=1)
