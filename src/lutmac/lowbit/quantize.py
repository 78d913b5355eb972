"""Quantisation by rounding to nearest, and the product by table lookup, from NumPy to NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutmac import _native
from lutmac.errors import InvalidRequestError
from lutmac.lowbit.matrix import LowBitMatrix, plain_codes
from lutmac.lowbit.packing import pack
from lutmac.lowbit.target import resolve_target

ScaleType = Literal["float16", "float32"]
GROUP_SIZES = (16, 32, 64, 128, 256)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedMatrix:
    """A low-bit matrix [rows, columns] as `quantize` makes it, packed for this CPU."""

    packed: _native.Matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Output features M, input features K."""
        return self.packed.rows, self.packed.columns

    @property
    def bits(self) -> int:
        """Bits per code."""
        return self.packed.bits

    @property
    def group_size(self) -> int:
        """Weights that share a scale."""
        return self.packed.group_size

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and offsets."""
        return self.packed.nbytes

    def dequantize(self) -> Floats:
        """The matrix that the codes stand for: [M, K] float32."""
        return self.packed.unpack_rows(np.arange(self.packed.rows, dtype=np.int32))


def quantize(  # noqa: PLR0913 (a public call; options by keyword)
    weights: ArrayLike,
    bits: int = 4,
    group_size: int | None = 32,
    *,
    symmetric: bool = False,
    scale_dtype: ScaleType = "float16",
    isa: str | None = None,
    threads: int | None = None,
) -> QuantizedMatrix:
    """Rounds weights [M, K] to the nearest of 2**bits levels in each group of ``group_size`` along K.

    The levels span a group's minimum and maximum (a scale and an offset per group); with ``symmetric`` there is a scale
    alone, 0 is a level (except at 1 bit, where the levels are ± the mean magnitude) and the value of largest
    magnitude is another. group_size None is one group per row. K is a multiple of 32.
    Raises InvalidRequestError, and UnsupportedISAError for ``isa``.
    """
    w = _checked_weights(weights)
    rows, columns = w.shape
    size = columns if group_size is None else group_size
    _check_format(bits, size, columns, scale_dtype)
    grid = (_symmetric(w, bits, size) if symmetric else _asymmetric(w, bits, size)).stored(scale_dtype)
    matrix = LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=bits,
        group_size=size,
        source=_codes(w, bits, size, grid),
        layout=plain_codes(),
        scale=grid.scale,
        zero_point=grid.zero_point,
        offset=grid.offset,
    )
    return QuantizedMatrix(pack(matrix, target=resolve_target(isa), threads=_threads(threads)))


def matmul(x: ArrayLike, matrix: QuantizedMatrix, *, threads: int | None = None, exact: bool = False) -> Floats:
    """``x @ W.T`` for activations x [n, K] (or [K]) and a quantised W [M, K]: [n, M] (or [M]) float32.

    By table lookup; with ``exact`` by float arithmetic on the dequantised weights. Raises InvalidRequestError.
    """
    activations = np.ascontiguousarray(x, dtype=np.float32)
    columns = matrix.shape[1]
    if activations.ndim not in (1, 2) or activations.shape[-1] != columns:
        raise InvalidRequestError(f"x has shape {activations.shape}, the matrix wants [n, {columns}] or [{columns}]")
    if not np.isfinite(activations).all():
        raise InvalidRequestError("x holds a value that is not finite")
    rows = activations.reshape(-1, columns)
    product: Floats = matrix.packed.matmul(rows, exact=exact, threads=_threads(threads))
    return product if activations.ndim == 2 else product[0]


def _checked_weights(weights: ArrayLike) -> Floats:
    w = np.ascontiguousarray(weights, dtype=np.float32)
    if w.ndim != 2 or w.size == 0:
        raise InvalidRequestError(f"weights have shape {w.shape}, expected [M, K] with M and K above 0")
    if w.shape[1] % 32:
        raise InvalidRequestError(f"weights have K = {w.shape[1]} columns, expected a multiple of 32")
    if not np.isfinite(w).all():
        raise InvalidRequestError("weights hold a value that is not finite")
    return w


def _check_format(bits: int, size: int, columns: int, scale_dtype: str) -> None:
    if bits not in range(1, 9):
        raise InvalidRequestError(f"bits is {bits}, expected 1 to 8")
    if size not in (*GROUP_SIZES, columns):
        allowed = ", ".join(map(str, GROUP_SIZES))
        raise InvalidRequestError(f"group_size is {size}, expected {allowed}, or None for one group per row")
    if scale_dtype not in ("float16", "float32"):
        raise InvalidRequestError(f"scale_dtype is {scale_dtype!r}, expected 'float16' or 'float32'")


def _threads(threads: int | None) -> int:
    if threads is None:
        return _native.default_threads()
    if threads < 1:
        raise InvalidRequestError(f"threads is {threads}, expected at least 1")
    return threads


@dataclass(frozen=True)
class _Grid:
    """The levels of every group: ``scale * (code - zero_point) + offset``; scale and offset are [M, G]."""

    scale: NDArray[Any]
    zero_point: float = 0.0
    offset: NDArray[Any] | None = None

    def stored(self, scale_dtype: ScaleType) -> _Grid:
        """The grid in the precision in which it is kept. Raises InvalidRequestError where float16 overflows."""
        with np.errstate(over="ignore"):
            scale = self.scale.astype(scale_dtype)
            offset = None if self.offset is None else self.offset.astype(scale_dtype)
        if not np.isfinite(scale).all() or (offset is not None and not np.isfinite(offset).all()):
            raise InvalidRequestError("weights are too large for float16 scales; use scale_dtype='float32'")
        return _Grid(scale, self.zero_point, offset)


def _asymmetric(w: Floats, bits: int, size: int) -> _Grid:
    low, high = _extremes(w, size)
    return _Grid((high - low) / np.float32(2**bits - 1), offset=low)


def _symmetric(w: Floats, bits: int, size: int) -> _Grid:
    if bits == 1:
        starts = np.arange(0, w.shape[1], size)
        counts = np.diff(np.append(starts, w.shape[1]))
        return _Grid(2 * np.add.reduceat(np.abs(w), starts, axis=1) / counts, zero_point=0.5)
    low, high = _extremes(w, size)
    half = 2 ** (bits - 1)  # code 0 is -half: the scale's sign lets the value of largest magnitude have it
    return _Grid(np.where(-low > high, low, high) / np.float32(-half), zero_point=float(half))


def _extremes(w: Floats, size: int) -> tuple[Floats, Floats]:
    """Minimum and maximum of every group."""
    starts = np.arange(0, w.shape[1], size)
    return np.minimum.reduceat(w, starts, axis=1), np.maximum.reduceat(w, starts, axis=1)


def _codes(w: Floats, bits: int, size: int, grid: _Grid) -> NDArray[np.uint8]:
    """The nearest codes."""
    group = np.arange(w.shape[1]) // size
    step = grid.scale.astype(np.float32)
    usable = np.abs(step) >= np.finfo(np.float32).tiny  # the inverse of anything smaller overflows
    inverse = np.divide(1, step, out=np.zeros_like(step), where=usable)
    shifted = w if grid.offset is None else w - grid.offset.astype(np.float32)[:, group]
    codes = np.rint(shifted * inverse[:, group] + np.float32(grid.zero_point))
    clipped: NDArray[np.uint8] = np.clip(codes, 0, 2**bits - 1).astype(np.uint8)
    return clipped
