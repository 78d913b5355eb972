"""GGUF's tensor types, and how the bytes of each that lutmac reads are a low-bit or a dense matrix.

Reading a type is lossless but for I32, I64 and F64, which become float32. A new type is one entry of BLOCK_TYPES.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from lutmac.checkpoints.gguf_blocks import BLOCK_TYPES
from lutmac.checkpoints.gguf_vectors import VECTOR_TYPES
from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.matrix import AnyMatrix, Array, DenseMatrix, LowBitMatrix
from lutmac.lowbit.reference import dequantize, parameter_values


@dataclass(frozen=True)
class TensorType:
    """A tensor type of GGUF: consecutive weights of a row come in blocks of ``block_bytes`` bytes."""

    name: str
    block_weights: int
    block_bytes: int


# Every type that the format defines, by its number: sizes are checked for all of them.
TENSOR_TYPES: Final = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
    42: TensorType("Q2_0", 64, 18),
    # Of Prism's converter (https://github.com/ggml-org/llama.cpp/issues/29058); older files of it have PQ2_0 as 42.
    142: TensorType("PQ2_0", 128, 34),
    143: TensorType("PTQ1_0", 128, 28),
}
Q2_0: Final = 42
PRISM_TYPES: Final = (142, 143)

_DENSE: Final[dict[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
# Types without products of their own: what they are in the file, and the floats that they become.
_CONVERTED: Final[dict[str, tuple[np.dtype[Any], np.dtype[Any]]]] = {
    "I8": (np.dtype("<i1"), np.dtype(np.float16)),
    "I16": (np.dtype("<i2"), np.dtype(np.float32)),
    "I32": (np.dtype("<i4"), np.dtype(np.float32)),
    "I64": (np.dtype("<i8"), np.dtype(np.float32)),
    "F64": (np.dtype("<f8"), np.dtype(np.float32)),
}

_TERNARY: Final = ("TQ1_0", "TQ2_0", "PTQ1_0")
_LOW_BIT: Final = {**BLOCK_TYPES, **VECTOR_TYPES}
SUPPORTED_TYPES: Final = (*_DENSE, *_CONVERTED, *_LOW_BIT)


def type_name(number: int) -> str:
    """GGUF's name of a tensor type, or "type 99" for a number that the format does not define."""
    return TENSOR_TYPES[number].name if number in TENSOR_TYPES else f"type {number}"


def check_type(path: str, tensor: str, kind: str) -> None:
    """Raises UnsupportedModelError, naming file, tensor and type, if lutmac cannot read tensors of that type."""
    if kind in SUPPORTED_TYPES:
        return
    shown = kind if kind.startswith("type ") else f"type {kind}"
    supported = ", ".join(SUPPORTED_TYPES)
    raise UnsupportedModelError(
        f"{path}: tensor {tensor!r} has {shown}, which lutmac does not read yet; supported: {supported}"
    )


def as_matrix(kind: str, rows: int, columns: int, data: Array) -> AnyMatrix:
    """The matrix that the bytes of a supported type mean.

    data: the tensor's bytes, 1-D uint8. What needs no decoding stays a view of it.
    """
    if kind in _DENSE:
        return DenseMatrix(data.view(_DENSE[kind]).reshape(rows, columns))
    if kind in _CONVERTED:
        stored, floats = _CONVERTED[kind]
        with np.errstate(over="ignore"):
            return DenseMatrix(data.view(stored).astype(floats).reshape(rows, columns))
    low_bit = _LOW_BIT[kind]
    matrix = LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=low_bit.bits,
        group_size=low_bit.group_size,
        source=data.reshape(rows, -1),
        layout=low_bit.layout,
        scale=low_bit.scale,
        zero_point=low_bit.zero_point,
        offset=low_bit.offset,
        factor=low_bit.factor,
        codebook=low_bit.codebook,
    )
    return _as_ternary(matrix) if kind in _TERNARY else matrix


def scaled(matrix: AnyMatrix, scale: float) -> AnyMatrix:
    """The matrix times a number."""
    if scale == 1.0:
        return matrix
    if isinstance(matrix, LowBitMatrix):
        return replace(matrix, factor=matrix.factor * scale)
    return DenseMatrix(dequantize(matrix) * np.float32(scale))


def _as_ternary(matrix: LowBitMatrix) -> LowBitMatrix:
    """The matrix with five weights to a byte, if no code is 3; with one scale for a row, if its blocks agree on it."""
    packed = matrix.source.reshape(-1, matrix.layout.block_bytes)[:, :64]
    if matrix.layout == BLOCK_TYPES["TQ2_0"].layout and (packed & packed >> 1 & 0x55).any():
        return matrix
    scales = parameter_values(matrix.scale, matrix)
    assert isinstance(scales, np.ndarray)
    bits = scales.view(np.uint16)
    if (bits != bits[:, :1]).any():
        return replace(matrix, ternary=True)
    return replace(matrix, ternary=True, group_size=matrix.columns, scale=np.ascontiguousarray(scales[:, :1]))
