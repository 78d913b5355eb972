"""Weights of 8-bit integers, of FP8 or of FP4 with scales beside them: what several formats of Hugging Face share.

The floats (E4M3, E2M1) and the scale E8M0 are those of
https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf. A format says which tensors make
up a layer; how they lie is told by their types and shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.group_affine import exact_scales, group_affine, group_size_of
from lutmac.checkpoints.quantized_modules import QuantizedModule, checked_shape, require_shape
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.formats import E2M1
from lutmac.lowbit.matrix import BitFields, BlockLayout, ByteFloats, LowBitMatrix
from lutmac.lowbit.reference import dequantize

Array = NDArray[Any]
Blocks = tuple[int, int]

WEIGHT_TYPES: Final = ("I8", "F8_E4M3", "U8")
SCALE_TYPES: Final = (*FLOAT_TYPES, "F8_E4M3", "F8_E8M0", "U8")


@dataclass(frozen=True)
class ScaledWeight:
    """The tensors of a layer, ``W = value(weight) * scale``, and what its configuration says of them.

    weight: I8 or F8_E4M3 [N, K], or U8 [N, K/2] with two E2M1 in a byte, the first in its low bits.
    scale: one for the layer; [N] or [N, 1]; [N, G] for groups of a row; or one for each of ``blocks`` (rows, columns).
    Its type: floats, E4M3, or E8M0, also as U8. zero_point: I8, shaped like scale, taken from the integers; older files
    have one of zeros, of any type, for floats too.
    global_scale: one float that multiplies scale, or divides it where ``divides`` is set. bits: of the integers.
    """

    name: str
    weight: str
    scale: str
    zero_point: str | None = None
    global_scale: str | None = None
    divides: bool = False
    blocks: Blocks | None = None
    group_size: int | None = None
    bits: int = 8

    @property
    def parts(self) -> tuple[str, ...]:
        """The tensors."""
        return tuple(part for part in (self.weight, self.scale, self.zero_point, self.global_scale) if part)


def scaled_module(files: TensorFiles, w: ScaledWeight) -> QuantizedModule:
    """The layer, its tensors checked. Raises CheckpointError where they do not fit."""
    rows, width = checked_shape(files, w.weight, WEIGHT_TYPES, 2)
    dtype = files.tensors[w.weight].dtype
    scale = files.tensors.get(w.scale)
    types = FLOAT_TYPES if w.zero_point and dtype == "I8" else SCALE_TYPES
    if scale is None or scale.dtype not in types or 0 in scale.shape:
        found = "is missing" if scale is None else f"has type {scale.dtype} and shape {scale.shape}"
        raise CheckpointError(f"{files.directory}: tensor {w.scale} {found}, expected scales")
    if w.zero_point and dtype == "I8":
        require_shape(files, w.zero_point, scale.shape, ("I8",))
    elif w.zero_point and files.array(w.zero_point).any():
        raise UnsupportedModelError(f"{files.directory}: {w.name}: floats with a zero point are not supported")
    if w.global_scale:
        require_one_number(files, w.global_scale)
        if scale.dtype == "U8":  # not the powers of two that stand alone
            raise UnsupportedModelError(f"{files.directory}: tensor {w.scale} holds scales of an unknown type")
    columns = 2 * width if dtype == "U8" else width
    return QuantizedModule(w.name, rows, columns, _kind(w, dtype, scale.dtype), w.parts)


def _kind(w: ScaledWeight, dtype: str, scale: str) -> str:
    """What people call it."""
    if dtype == "I8":
        return f"INT{w.bits}"
    if dtype == "F8_E4M3":
        return "FP8"
    return {"F8_E4M3": "NVFP4", "F8_E8M0": "MXFP4", "U8": "MXFP4"}.get(scale, "FP4")


def require_one_number(files: TensorFiles, name: str) -> None:
    """Raises CheckpointError where a tensor is not one float, as a scalar or in a vector."""
    tensor = files.tensors.get(name)
    if tensor is None or tensor.dtype not in FLOAT_TYPES or math.prod(tensor.shape) != 1:
        found = "is missing" if tensor is None else f"has type {tensor.dtype} and shape {tensor.shape}"
        raise CheckpointError(f"{files.directory}: tensor {name} {found}, expected one float")


def scaled_matrix(files: TensorFiles, w: ScaledWeight, module: QuantizedModule) -> LowBitMatrix:
    """The weight of a layer, without loss: codes where they lie in the file, scales as they are."""
    what, dtype = f"{files.directory}: {w.name}", files.tensors[w.weight].dtype
    scale, group_size = spread_scale(what, files.array(w.scale), (module.rows, module.columns), w)
    if w.zero_point and dtype == "I8":
        return _asymmetric(files, w, module, scale, group_size)
    source = files.array(w.weight).view(np.uint8)
    changes: dict[str, Any] = {}
    if dtype == "I8":
        layout = _signed(what, files.array(w.weight), w.bits)
        bits, changes["zero_point"] = w.bits, float(2 ** (w.bits - 1))
    elif dtype == "F8_E4M3":
        layout, bits, changes["float8"] = BlockLayout(32, 32, (BitFields(0, 32, 0, 0, 8),)), 8, True
    else:
        layout, bits, changes["codebook"] = bit_string(4), 4, E2M1
    if w.global_scale:
        changes["factor"] = _factor(what, dequantize(files.floats(w.global_scale)).item(), w.divides)
    stored = stored_scales(scale, files.tensors[w.scale].dtype)
    return LowBitMatrix(module.rows, module.columns, bits, group_size, source, layout, stored, **changes)


def bit_string(bits: int) -> BlockLayout:
    """Codes that follow each other without gaps, the lowest bits of each byte first."""
    return BlockLayout(32, 4 * bits, (BitFields(0, 32, 0, 0, bits, stride=bits),))


def stored_scales(values: Array, dtype: str) -> Array | ByteFloats:
    """Scales [N, G] of a safetensors type as a low-bit matrix keeps them: in that very type."""
    if dtype in FLOAT_TYPES:
        return values
    return ByteFloats(values, "e4m3" if dtype == "F8_E4M3" else "e8m0")


def spread_scale(what: str, scale: Array, shape: Blocks, w: ScaledWeight) -> tuple[Array, int]:
    """Scales as [N, G], and the weights of a group: whatever they are for, see ScaledWeight.

    scale: also [R, 1, C, 1], as ModelOpt has blocks. Raises CheckpointError where it does not fit.
    """
    rows, columns = shape
    if scale.size == 1:
        return np.full((rows, 1), scale.reshape(-1)[0]), group_size_of(what, columns, 1, None)
    if scale.ndim == 4 and scale.shape[1] == scale.shape[3] == 1:
        scale = scale[:, 0, :, 0]
    if scale.ndim == 1:
        scale = scale.reshape(-1, 1)
    high, wide = w.blocks or (1, w.group_size or columns)
    if w.blocks and scale.shape == (-(-rows // high), -(-columns // wide)):
        spread = np.repeat(scale, high, axis=0)[:rows]
        return spread, group_size_of(what, columns, scale.shape[1], wide)
    if scale.ndim != 2 or scale.shape[0] != rows:
        raise CheckpointError(f"{what}: scales of shape {scale.shape} do not fit {rows}x{columns} weights")
    return np.ascontiguousarray(scale), group_size_of(what, columns, scale.shape[1], w.group_size)


def _factor(what: str, value: float, divides: bool) -> float:
    """What multiplies all scales."""
    with np.errstate(all="ignore"):
        factor = np.float32(1) / np.float32(value) if divides else np.float32(value)
    if not np.isfinite(factor):
        raise CheckpointError(f"{what}: its global scale is {value}, which cannot be used")
    return float(factor)


def _signed(what: str, integers: Array, bits: int) -> BlockLayout:
    """The layout of integers, a byte each, of which ``bits`` say everything; codes are these plus 2**(bits - 1)."""
    half = 2 ** (bits - 1)
    if bits < 8 and (integers.min() < -half or integers.max() >= half):
        raise CheckpointError(f"{what}: has weights from {integers.min()} to {integers.max()}, not of {bits} bits")
    return BlockLayout(32, 32, (BitFields(0, 32, 0, 0, bits),), xor=half)


def _asymmetric(
    files: TensorFiles, w: ScaledWeight, module: QuantizedModule, scale: Array, group_size: int
) -> LowBitMatrix:
    """Integers with a zero point for each group."""
    assert w.zero_point
    what, half = f"{files.directory}: {w.name}", 2 ** (w.bits - 1)
    zeros, _ = spread_scale(what, files.array(w.zero_point), (module.rows, module.columns), w)
    integers = files.array(w.weight)
    _signed(what, integers, w.bits)
    codes = (integers.astype(np.int16) + half).astype(np.uint8)
    if zeros.min() < -half or zeros.max() >= half:
        raise CheckpointError(f"{what}: has zero points from {zeros.min()} to {zeros.max()}, not of {w.bits} bits")
    return group_affine(
        codes,
        bits=w.bits,
        group_size=group_size,
        scale=exact_scales(scale, files.tensors[w.scale].dtype),
        zeros=(zeros.astype(np.int16) + half).astype(np.uint8),
    )
