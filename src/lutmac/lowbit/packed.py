"""Packed matrices as bytes: what they are, apart from where their bytes lie, and the matrix over such bytes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac import _native

ALIGNMENT: Final = 64  # bytes: of every part's place, and of its length
_PARAMETERS: Final = ("f16", "f32", "bf16", "e8m0", "e4m3", "int8 under f16", "int8 under f32")
_NAMES: Final = {
    "codes": ("affine", "codebook", "ternary", "float8"),
    "scale": _PARAMETERS,
    "offset": ("none", *_PARAMETERS),
    "floats": ("f32", "f16", "bf16"),
}

Bytes = NDArray[np.uint8]


def packing_name(target: str) -> str:
    """What the packing of an ISA target is called in files: ``avx2/2``. Targets with one packing share its name."""
    return next(packing for name, packing, _ in _native.target_table() if name == target)


def is_known_packing(packing: str) -> bool:
    """Whether an ISA target has this packing, also one of another architecture."""
    return any(known == packing for _, known, _ in _native.target_table())


@dataclass(frozen=True)
class PackedLowBit:
    """A packed low-bit matrix without its bytes; see LowBitMatrix for what the fields mean.

    codes: "affine", "codebook", "ternary" or "float8". scale, offset: "none", "f16", "f32", "bf16", "e8m0", "e4m3", or
    "int8 under f16", "int8 under f32" with as many groups under a super-scale as scale_groups_per_super says.
    """

    rows: int
    columns: int
    codes: str
    bits: int
    group_size: int
    zero_point: float
    factor: float
    scale: str
    scale_groups_per_super: int
    offset: str
    offset_groups_per_super: int
    codebook: tuple[float, ...] | None = None
    second_codebook: tuple[float, ...] | None = None

    @property
    def groups(self) -> int:
        """G, the number of groups of a row."""
        return -(-self.columns // self.group_size)

    @property
    def part_names(self) -> tuple[str, ...]:
        """What its bytes are, in their order."""
        names = ["codes"]
        for name, kind in (("scale", self.scale), ("offset", self.offset)):
            names += [] if kind == "none" else [name, f"{name}_super"] if kind.startswith("int8") else [name]
        return tuple(names)


@dataclass(frozen=True)
class PackedDense:
    """A packed matrix of floats without its bytes. floats: "f32", "f16" or "bf16"."""

    rows: int
    columns: int
    floats: str

    @property
    def part_names(self) -> tuple[str, ...]:
        """What its bytes are."""
        return ("floats",)


PackedKind = PackedLowBit | PackedDense


def describe(matrix: _native.Matrix) -> PackedKind:
    """What a packed matrix is."""
    return from_fields(_native.describe_matrix(matrix))


def fields(kind: PackedKind) -> dict[str, Any]:
    """A description as a mapping that JSON takes, without what is None."""
    return {name: value for name, value in asdict(kind).items() if value is not None}


def from_fields(found: dict[str, Any]) -> PackedKind:
    """The description that ``fields`` took apart. Raises TypeError or ValueError where it is none."""
    cls = PackedDense if "floats" in found else PackedLowBit
    values: dict[str, Any] = {
        name: tuple(map(float, item)) if isinstance(item, list) else item for name, item in found.items()
    }
    for name, value in values.items():
        wanted = cls.__annotations__.get(name, "")
        if wanted == "int" and (type(value) is not int or not 0 < value < 2**31):
            raise ValueError(f"{name} is {value!r}, expected an integer above 0")
        if wanted == "str" and value not in _NAMES[name]:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(_NAMES[name])}")
        if name.endswith("codebook") and (not isinstance(value, tuple) or len(value) != 16):
            raise ValueError(f"{name} is {value!r}, expected 16 numbers")
    kind: PackedKind = cls(**values)
    if isinstance(kind, PackedLowBit):
        _check(kind)
    return kind


def _check(kind: PackedLowBit) -> None:
    """What unpacking relies on; the native side checks the same for itself."""
    if kind.columns % 32 or not 1 <= kind.bits <= 8:
        raise ValueError(f"a matrix of {kind.columns} columns and {kind.bits} bits is not to be had")
    if (kind.codes == "codebook") != (kind.codebook is not None) or kind.scale == "none":
        raise ValueError("codes of a codebook come with its values, and all with a scale")
    if kind.bits != {"codebook": 4, "ternary": 2, "float8": 8}.get(kind.codes, kind.bits):
        raise ValueError(f"{kind.codes} codes do not have {kind.bits} bits")
    for name in ("zero_point", "factor"):
        if not isinstance(getattr(kind, name), int | float):
            raise ValueError(f"{name} is {getattr(kind, name)!r}, expected a number")


def parts(matrix: _native.Matrix) -> dict[str, Bytes]:
    """The bytes of a packed matrix by name: read-only views that keep it alive; lengths are multiples of 64."""
    names = describe(matrix).part_names
    return dict(zip(names, _native.matrix_parts(matrix), strict=True))


def map_matrix(kind: PackedKind, found: Sequence[Bytes], *, target: str) -> _native.Matrix:
    """A matrix over bytes in the target's packing, which are not copied. found: in the order of ``part_names``.

    Raises ValueError where the bytes do not fit the description.
    """
    if isinstance(kind, PackedDense):
        return _native.map_dense(target=target, parts=list(found), **asdict(kind))
    return _native.map_lowbit(target=target, parts=list(found), **asdict(kind))
