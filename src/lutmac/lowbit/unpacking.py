"""Matrices out of the packing of any ISA target, also one that this CPU does not run, for packing them anew.

The packings are those that `native/kernels` describes: `bytewise.h` for avx2 and avx512, `neon/layout.h` and
`portable/lut.cpp`. In all of them a byte of 1 to 7 bit codes holds indices of two LUT groups of one bit plane, so that
unpacking moves bytes (on neon halves of them), and bit planes are a layout that packing reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac.lowbit.matrix import (
    AnyMatrix,
    Array,
    BitRun,
    BlockLayout,
    ByteFloats,
    DenseMatrix,
    LowBitMatrix,
    Parameter,
    TwoLevel,
    plain_codes,
)
from lutmac.lowbit.packed import ALIGNMENT, Bytes, PackedDense, PackedKind, PackedLowBit

TILE_ROWS: Final = {"avx512": 64, "avx2": 32, "neon": 16, "portable": 16}
_TYPES: Final = {"f16": "<f2", "f32": "<f4", "bf16": "<u2", "e8m0": "u1", "e4m3": "u1"}


def unpack(kind: PackedKind, parts: Sequence[Bytes], *, packing: str) -> AnyMatrix:
    """The matrix that bytes in a packing hold. packing: its name, ``avx2/2``. parts: as ``kind.part_names``.

    Raises ValueError where they are shorter than the description wants.
    """
    target = packing.split("/", maxsplit=1)[0]
    rows = TILE_ROWS[target]
    if isinstance(kind, PackedDense):
        return DenseMatrix(_params(parts[0], _TYPES[kind.floats], kind.rows, kind.columns, rows))
    named = dict(zip(kind.part_names, parts, strict=True))
    source, layout = _codes(kind, named["codes"], target)
    scale = _parameter(kind, named, "scale", kind.scale, kind.scale_groups_per_super, rows)
    assert scale is not None
    return LowBitMatrix(
        rows=kind.rows,
        columns=kind.columns,
        bits=kind.bits,
        group_size=kind.group_size,
        source=np.ascontiguousarray(source[: kind.rows]),
        layout=layout,
        scale=scale,
        zero_point=kind.zero_point,
        offset=_parameter(kind, named, "offset", kind.offset, kind.offset_groups_per_super, rows),
        factor=kind.factor,
        codebook=kind.codebook,
        second_codebook=kind.second_codebook,
        ternary=kind.codes == "ternary",
        float8=kind.codes == "float8",
    )


def _codes(kind: PackedLowBit, packed: Bytes, target: str) -> tuple[Array, BlockLayout]:
    """The codes as [padded rows, bytes], and where they lie in those bytes."""
    if kind.codes == "ternary":
        return _ternary(kind, packed, TILE_ROWS[target]), plain_codes()
    if kind.codes == "float8":
        return _params(packed, "u1", kind.rows, kind.columns, TILE_ROWS[target]), plain_codes()
    if kind.codes == "codebook":
        order = np.array([0, 2, 1, 3] if target == "avx2" else [0, 1, 2, 3])
        nibbles = tuple(BitRun(8 * n + 4 * high, 4, 4 * n, 4 * high, 4) for n in range(4) for high in range(2))
        dwords = _blocks(kind, packed, TILE_ROWS[target], 8, 4).reshape(-1, 4)[:, order]
        return dwords.reshape(-1, kind.columns // 2), BlockLayout(32, 16, nibbles)
    if kind.bits == 8:
        return _bytes(kind, packed, target)
    planes = {"portable": _portable_planes, "neon": _neon_planes}.get(target, _bytewise_planes)
    runs = tuple(BitRun(0, 32, plane * 4, 0, 1, plane, stride=1) for plane in range(kind.bits))
    return planes(kind, packed, TILE_ROWS[target]), BlockLayout(32, 4 * kind.bits, runs)


def _portable_planes(kind: PackedLowBit, packed: Bytes, tile_rows: int) -> Array:
    return _blocks(kind, packed, tile_rows, 32, 4 * kind.bits)


def _blocks(kind: PackedLowBit, packed: Bytes, tile_rows: int, block: int, block_bytes: int) -> Array:
    """From [tile][``block`` k][row][bytes of these k] to [row][``block`` k][bytes]."""
    tiles, blocks = _tiles(kind, tile_rows), kind.columns // block
    shaped = _first(packed, tiles * blocks * tile_rows * block_bytes)
    shaped = shaped.reshape(tiles, blocks, tile_rows, block_bytes)
    return shaped.transpose(0, 2, 1, 3).reshape(tiles * tile_rows, blocks * block_bytes)


def _gathered(kind: PackedLowBit, packed: Bytes, tile_rows: int, places: NDArray[np.intp]) -> Array:
    """Blocks of a tile's 32 k, whose bytes ``places`` [tile rows, n] are put in a row: [rows, blocks * n]."""
    tiles, blocks = _tiles(kind, tile_rows), kind.columns // 32
    block_bytes = tile_rows * 4 * kind.bits
    shaped = _first(packed, tiles * blocks * block_bytes).reshape(tiles, blocks, block_bytes)
    found = np.empty((tiles, tile_rows, blocks, places.shape[1]), np.uint8)
    for tile in range(tiles):
        found[tile] = shaped[tile][:, places].transpose(1, 0, 2)
    return found.reshape(tiles * tile_rows, -1)


def _bytewise_planes(kind: PackedLowBit, packed: Bytes, tile_rows: int) -> Array:  # noqa: C901 (a case for each number of planes)
    bits, lanes = kind.bits, tile_rows // 4
    vector, row = lanes * 4, np.arange(tile_rows)
    lane, part = row % lanes, row // lanes
    places = np.empty((tile_rows, bits, 4), np.intp)
    start = plane = 0
    if bits >= 4:  # a quad
        for step in range(4):
            for p in range(4):
                places[:, p, step] = (step * 4 + part) * vector + lane * 4 + p
        start, plane = 16 * vector, 4
    if (
        bits & 3 == 3 and tile_rows == TILE_ROWS["avx512"]
    ):  # a triple: the last step's bytes are the fourth of the others
        for p in range(3):
            for step in range(3):
                places[:, plane + p, step] = start + (step * 4 + part) * vector + lane * 4 + p
            places[:, plane + p, 3] = start + (p * 4 + part) * vector + lane * 4 + 3
        return _gathered(kind, packed, tile_rows, places.reshape(tile_rows, -1))
    if bits & 2:  # a pair
        for step in range(4):
            for p in range(2):
                places[:, plane + p, step] = start + (step * 2 + part // 2) * vector + lane * 4 + part % 2 * 2 + p
        start, plane = start + 8 * vector, plane + 2
    if bits & 1:  # a single
        for step in range(4):
            places[:, plane, step] = start + step * vector + lane * 4 + part
    return _gathered(kind, packed, tile_rows, places.reshape(tile_rows, -1))


def _neon_planes(kind: PackedLowBit, packed: Bytes, tile_rows: int) -> Array:
    bits, width = kind.bits, 2 if kind.bits == 1 else 4
    p, row = np.arange(4 * bits)[None, :], np.arange(tile_rows)[:, None]
    strings = _gathered(kind, packed, tile_rows, (p // width * tile_rows + row) * width + p % width)
    strings = strings.reshape(len(strings), -1, 4, bits)  # byte (group, plane): LUT groups `group` and `group + 4`
    groups = np.concatenate([strings & 15, strings >> 4], axis=2)
    steps = groups[:, :, 0::2] | groups[:, :, 1::2] << 4  # byte (step, plane): 8 k of a plane
    return np.ascontiguousarray(steps.transpose(0, 1, 3, 2)).reshape(len(strings), -1)


def _bytes(kind: PackedLowBit, packed: Bytes, target: str) -> tuple[Array, BlockLayout]:
    """8-bit codes, which lie as integers."""
    tile_rows = TILE_ROWS[target]
    step, xor = {"portable": (32, 0), "neon": (4, 0x80), "avx2": (2, 0x80), "avx512": (4, 0)}[target]
    return _blocks(kind, packed, tile_rows, step, step), BlockLayout(32, 32, (BitRun(0, 32, 0, 0, 8),), xor)


def _ternary(kind: PackedLowBit, packed: Bytes, tile_rows: int) -> Array:
    """Five trits in a byte: those of a triple, and those of a pair; see ternary_code.h."""
    byte = np.arange(256)
    pair = byte * 9 >> 8
    triple = byte - -(-256 * pair // 9)
    trits = np.stack([triple % 3, triple // 3 % 3, triple // 9, pair % 3, pair // 3], axis=1).astype(np.uint8)
    tiles, runs = _tiles(kind, tile_rows), -(-kind.columns // 5)
    row = np.arange(tile_rows)
    places = row % (tile_rows // 4) * 4 + row // (tile_rows // 4)
    shaped = _first(packed, tiles * runs * tile_rows).reshape(tiles, runs, tile_rows)[:, :, places]
    codes: Array = trits[shaped.transpose(0, 2, 1).reshape(tiles * tile_rows, runs)]
    return codes.reshape(tiles * tile_rows, -1)[:, : kind.columns]


def _parameter(
    kind: PackedLowBit, parts: dict[str, Bytes], name: str, type_name: str, per_super: int, tile_rows: int
) -> Parameter | None:
    if type_name == "none":
        return None
    if type_name.startswith("int8"):
        supers = _params(
            parts[f"{name}_super"], _TYPES[type_name[-3:]], kind.rows, -(-kind.groups // per_super), tile_rows
        )
        return TwoLevel(_params(parts[name], "i1", kind.rows, kind.groups, tile_rows), supers, per_super)
    values = _params(parts[name], _TYPES[type_name], kind.rows, kind.groups, tile_rows)
    if type_name in ("e8m0", "e4m3"):
        return ByteFloats(values, "e8m0" if type_name == "e8m0" else "e4m3")
    return values


def _params(packed: Bytes, dtype: str, rows: int, groups: int, tile_rows: int) -> Array:
    """From [tile][group][tile row] to [rows, groups]."""
    tiles = -(-rows // tile_rows)
    values = _first(packed, tiles * tile_rows * groups * np.dtype(dtype).itemsize).view(dtype)
    shaped = values.reshape(tiles, groups, tile_rows).transpose(0, 2, 1)
    return np.ascontiguousarray(shaped.reshape(tiles * tile_rows, groups)[:rows])


def _tiles(kind: PackedLowBit, tile_rows: int) -> int:
    return -(-kind.rows // tile_rows)


def _first(packed: Bytes, count: int) -> Bytes:
    if not 0 <= len(packed) - count < ALIGNMENT:
        raise ValueError(f"{len(packed)} bytes of a packed matrix, expected {count}")
    return packed[:count]
