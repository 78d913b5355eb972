"""Packed matrices as bytes: the names of packings, and the way out of one, on any processor.

What a matrix is, apart from its bytes, is a ``_native.MatrixShape``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.lowbit.matrix import (
    AnyMatrix,
    Array,
    ByteFloats,
    DenseMatrix,
    LowBitMatrix,
    Parameter,
    TwoLevel,
    plain_codes,
)

ALIGNMENT: Final = 64  # bytes: of every part's place, and of its length
# NumPy's type of the floats that it has a type for; bfloat16 is its bits.
_TYPES: Final = {"f16": np.float16, "f32": np.float32, "bf16": np.uint16}
_SUPERS: Final = {name: above for name, _, above in _native.SCALE_KINDS if above != "none"}

Bytes = NDArray[np.uint8]


def packing_name(target: str) -> str:
    """What the packing of an ISA target is called in files: ``avx2/3``. Targets with one packing share its name."""
    return next(packing for name, packing, _ in _native.target_table() if name == target)


def is_known_packing(packing: str) -> bool:
    """Whether an ISA target has this packing, also one of another architecture."""
    return any(known == packing for _, known, _ in _native.target_table())


def parts(matrix: _native.Matrix) -> dict[str, Bytes]:
    """The bytes of a packed matrix by name: read-only views that keep it alive; lengths are multiples of 64."""
    return dict(zip(matrix.shape.part_names, _native.matrix_parts(matrix), strict=True))


def unpack(shape: _native.MatrixShape, found: Sequence[Bytes], *, packing: str) -> AnyMatrix:
    """The matrix that bytes in a packing hold. packing: its name, ``avx2/3``. found: in the order of ``part_names``.

    Raises ValueError where the bytes do not fit the shape.
    """
    arrays = _native.unpack_matrix(shape, list(found), packing=packing)
    fields = shape.fields()
    if "floats" in fields:
        return DenseMatrix(arrays["floats"].view(_TYPES[fields["floats"]]))
    scale = _parameter(arrays, fields, "scale")
    assert scale is not None  # a shape without is refused
    return LowBitMatrix(
        rows=shape.rows,
        columns=shape.columns,
        bits=fields["bits"],
        group_size=fields["group_size"],
        source=arrays["codes"],
        layout=plain_codes(),
        scale=scale,
        zero_point=fields["zero_point"],
        offset=_parameter(arrays, fields, "offset"),
        factor=fields["factor"],
        codebook=_values(fields, "codebook"),
        second_codebook=_values(fields, "second_codebook"),
        ternary=fields["codes"] == "ternary",
        float8=fields["codes"] == "float8",
    )


def _parameter(arrays: dict[str, Bytes], fields: dict[str, Any], name: str) -> Parameter | None:
    kind = fields[name]
    if kind == "none":
        return None
    if kind in _SUPERS:
        supers: Array = arrays[f"{name}_super"].view(_TYPES[_SUPERS[kind]])
        return TwoLevel(arrays[name].view(np.int8), supers, fields[f"{name}_groups_per_super"])
    return arrays[name].view(_TYPES[kind]) if kind in _TYPES else ByteFloats(arrays[name], kind)


def _values(fields: dict[str, Any], name: str) -> tuple[float, ...] | None:
    return tuple(fields[name]) if name in fields else None
