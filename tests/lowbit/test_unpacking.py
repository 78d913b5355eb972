"""Packed bytes of every ISA target back to the codes and parameters that were packed, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from lutmac import _native
from lutmac.lowbit.matrix import ByteFloats, DenseMatrix, LowBitMatrix, TwoLevel, plain_codes
from lutmac.lowbit.packed import is_known_packing, packing_name, parts, unpack
from lutmac.lowbit.packing import Packer, pack
from lutmac.lowbit.reference import dequantize

TARGETS = _native.available_targets()
ROWS, COLUMNS = 70, 160
BOOK = tuple(float(value) for value in range(-8, 8))


def low_bit(bits: int, group_size: int = 32, **changes: object) -> LowBitMatrix:
    rng = np.random.default_rng(bits)
    groups = -(-COLUMNS // group_size)
    values: dict[str, object] = {
        "rows": ROWS,
        "columns": COLUMNS,
        "bits": bits,
        "group_size": group_size,
        "source": rng.integers(0, 3 if changes.get("ternary") else 2**bits, (ROWS, COLUMNS), dtype=np.uint8),
        "layout": plain_codes(),
        "scale": rng.normal(size=(ROWS, groups)).astype(np.float16),
    }
    return LowBitMatrix(**{**values, **changes})  # type: ignore[arg-type]


def cases() -> dict[str, LowBitMatrix | DenseMatrix]:
    rng = np.random.default_rng(0)
    found: dict[str, LowBitMatrix | DenseMatrix] = {f"{bits} bits": low_bit(bits) for bits in range(1, 9)}
    shape = (ROWS, COLUMNS // 32)
    small, supers = rng.integers(-99, 99, shape).astype(np.int8), rng.normal(size=(ROWS, 3)).astype(np.float32)
    found["two levels"] = low_bit(3, scale=TwoLevel(small, supers, 2), offset=TwoLevel(small[::-1], supers, 2))
    found["bytes"] = low_bit(4, scale=ByteFloats(rng.integers(100, 130, shape).astype(np.uint8), "e8m0"))
    found["bfloat16"] = low_bit(5, scale=rng.integers(15000, 16000, shape).astype(np.uint16), factor=0.5)
    found["ternary"] = low_bit(2, COLUMNS, ternary=True, zero_point=1.0)
    found["offset"] = low_bit(2, 16, offset=rng.normal(size=(ROWS, COLUMNS // 16)).astype(np.float32), zero_point=1.5)
    found["float8"] = low_bit(8, 16, source=rng.integers(0, 127, (ROWS, COLUMNS), dtype=np.uint8) * 2, float8=True)
    found["codebook"] = low_bit(4, codebook=BOOK)
    found["two codebooks"] = low_bit(
        4, codebook=BOOK, second_codebook=BOOK[::-1], offset=rng.normal(size=shape).astype(np.float16)
    )
    for dtype in (np.float32, np.float16):
        found[np.dtype(dtype).name] = DenseMatrix(rng.normal(size=(ROWS, COLUMNS)).astype(dtype))
    return found


CASES = cases()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_what_was_packed_comes_out(name: str, target: str) -> None:
    matrix = CASES[name]
    packed = pack(matrix, target=target, threads=1)
    found = parts(packed)
    assert all(len(part) % 64 == 0 and part.ctypes.data % 64 == 0 for part in found.values())
    unpacked = unpack(packed.shape, list(found.values()), packing=packing_name(target))
    assert np.array_equal(dequantize(unpacked), dequantize(matrix))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_rows_read_from_where_they_are_have_the_same_bits(name: str, target: str) -> None:
    matrix, ids = CASES[name], np.array([69, 0, 33, 64, 1], np.int32)
    streamed, packed = Packer(target=target, threads=1).stream(matrix), pack(matrix, target=target, threads=1)
    assert (streamed.nbytes, streamed.rows, streamed.columns, streamed.bits) == (0, ROWS, COLUMNS, packed.bits)
    np.testing.assert_array_equal(streamed.unpack_rows(ids), packed.unpack_rows(ids))
    with pytest.raises(ValueError, match="not in memory"):
        streamed.matmul(np.zeros((1, COLUMNS), np.float32), exact=True, threads=1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_a_matrix_over_its_bytes_is_the_same(name: str, target: str) -> None:
    packed = pack(CASES[name], target=target, threads=1)
    shape = _native.MatrixShape(packed.shape.fields())
    found = [part.copy() for part in parts(packed).values()]
    aligned = [np.frombuffer(_aligned(part), np.uint8) for part in found]
    mapped = _native.map_matrix(shape, aligned, target=target)
    x = np.random.default_rng(1).normal(size=(3, COLUMNS)).astype(np.float32)
    for exact in (False, True):
        assert np.array_equal(mapped.matmul(x, exact=exact, threads=1), packed.matmul(x, exact=exact, threads=1))
    with pytest.raises(ValueError, match="part"):
        _native.map_matrix(shape, aligned[:-1], target=target)
    with pytest.raises(ValueError, match="size"):
        _native.map_matrix(shape, [part[:-64] for part in aligned], target=target)


def _aligned(part: np.ndarray) -> memoryview:
    buffer = np.empty(len(part) + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    buffer[start : start + len(part)] = part
    return buffer[start : start + len(part)].data


def test_every_target_of_the_build_has_a_packing() -> None:
    assert all(is_known_packing(packing_name(target)) for target in _native.built_targets())


@pytest.mark.parametrize("bits", range(1, 9))
def test_neon_is_unpacked_on_other_processors(bits: int) -> None:
    """Against the layout as native/kernels/neon/packing.h words it: nibbles, strings, dwords."""
    rows, columns, tile = 20, 64, 16
    codes = np.zeros((32, columns), np.uint8)
    codes[:rows] = np.random.default_rng(bits).integers(0, 2**bits, (rows, columns))
    packed = np.concatenate([_neon_tile(codes[first : first + tile], bits) for first in range(0, 32, tile)])
    fields = {
        "rows": rows,
        "columns": columns,
        "codes": "affine",
        "bits": bits,
        "group_size": columns,
        "zero_point": 0.0,
    }
    fields |= {
        "factor": 1.0,
        "scale": "f32",
        "scale_groups_per_super": 1,
        "offset": "none",
        "offset_groups_per_super": 1,
    }
    matrix = unpack(_native.MatrixShape(fields), [packed, np.ones(32, np.float32).view(np.uint8)], packing="neon/2")
    assert np.array_equal(dequantize(matrix), codes[:rows])


def _neon_tile(codes: np.ndarray, bits: int) -> np.ndarray:
    out = []
    for block in range(0, codes.shape[1], 32):
        if bits == 8:
            out += [int(codes[r, block + k + i]) ^ 0x80 for k in range(0, 32, 4) for r in range(16) for i in range(4)]
            continue
        width = 2 if bits == 1 else 4
        strings = [_neon_string(codes[r, block : block + 32], bits) for r in range(16)]
        out += [s for part in range(0, 4 * bits, width) for r in range(16) for s in strings[r][part : part + width]]
    return np.array(out, np.uint8)


def _neon_string(codes: np.ndarray, bits: int) -> list[int]:
    def nibble(group: int, plane: int) -> int:
        return sum((int(codes[4 * group + i]) >> plane & 1) << i for i in range(4))

    return [nibble(p // bits, p % bits) | nibble(p // bits + 4, p % bits) << 4 for p in range(4 * bits)]
