"""Quantisation by rounding to nearest, and the product by table lookup, from NumPy to NumPy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutmac import _native
from lutmac.errors import InvalidRequestError
from lutmac.lowbit.fitting import fit
from lutmac.lowbit.formats import AsymmetricIntegers, Levels
from lutmac.lowbit.matrix import LowBitMatrix, plain_codes
from lutmac.lowbit.packing import pack
from lutmac.lowbit.saved import from_arrays, read_arrays, to_arrays, write_arrays
from lutmac.lowbit.target import resolve_target

ScaleType = Literal["float16", "float32"]
Precision = Literal["default", "exact"]
GROUP_SIZES = (16, 32, 64, 128, 256)
COLUMNS_TOGETHER = 32  # packed rows are a multiple of these
FITTED_TOGETHER = 1 << 15  # weights, so that they stay in the cache
FITTED_BITS = 3  # and fewer: levels that span a group would be far from most of its weights
SMALLEST_SCALE = {"float16": 2.0**-19, "float32": 2.0**-126}  # smaller ones are off by over 1.6%, or lost
Floats = NDArray[np.float32]


class QuantizedMatrix:
    """A low-bit matrix [rows, columns] as `quantize` makes it, packed for this CPU.

    It can be pickled, and saved to a file. On a CPU that wants another packing it is packed anew.
    """

    def __init__(self, packed: _native.Matrix, columns: int, target: str) -> None:
        """columns: K; the packed matrix may have up to 31 more. target: the ISA target that it is packed for."""
        self._packed = packed
        self._columns = columns
        self._target = target

    @property
    def shape(self) -> tuple[int, int]:
        """Output features M, input features K."""
        return self._packed.rows, self._columns

    @property
    def bits(self) -> int:
        """Bits per code."""
        return self._packed.bits

    @property
    def group_size(self) -> int:
        """Weights that share a scale."""
        return self._packed.group_size

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and offsets."""
        return self._packed.nbytes

    def dequantize(self) -> Floats:
        """The matrix that the codes stand for: [M, K] float32."""
        rows = self._packed.unpack_rows(np.arange(self._packed.rows, dtype=np.int32))
        return np.ascontiguousarray(rows[:, : self._columns])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the matrix to a file of NumPy's format .npz, under exactly this name."""
        write_arrays(path, to_arrays(self._packed, self._columns, self._target))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, isa: str | None = None) -> QuantizedMatrix:
        """The matrix that ``save`` wrote. Raises CheckpointError where the file holds none."""
        target = resolve_target(isa)
        return cls(*from_arrays(read_arrays(path), os.fspath(path), target=target), target)

    def __reduce__(self) -> tuple[Callable[..., QuantizedMatrix], tuple[dict[str, Any]]]:
        """For pickle."""
        return _unpickled, (to_arrays(self._packed, self._columns, self._target),)

    def __matmul__(self, x: ArrayLike) -> Floats:
        """``W @ x`` for x [K] or [K, n]: [M] or [M, n]."""
        return np.ascontiguousarray(matmul(np.asarray(x).T, self).T)

    def __repr__(self) -> str:
        """Shape, bits, group size and memory."""
        rows, columns = self.shape
        size = f"{self.nbytes / 1e6:.1f} MB" if self.nbytes >= 1e5 else f"{self.nbytes} bytes"
        return f"<QuantizedMatrix [{rows}, {columns}], {self.bits} bits, groups of {self.group_size}, {size}>"


def _unpickled(arrays: dict[str, Any]) -> QuantizedMatrix:
    target = resolve_target(None)
    return QuantizedMatrix(*from_arrays(arrays, "the pickled matrix", target=target), target)


def quantize(  # noqa: PLR0913 (a public call; options by keyword)
    weights: ArrayLike,
    bits: int = 4,
    group_size: int | None = 128,
    *,
    symmetric: bool = False,
    scale_dtype: ScaleType = "float16",
    isa: str | None = None,
    threads: int | None = None,
) -> QuantizedMatrix:
    """Rounds weights [M, K] to the nearest of 2**bits levels in each group of ``group_size`` along K.

    A group has a scale and an offset. From 4 bits on, its levels span its minimum and maximum; up to 3 bits they
    are those of the least squared error that a search finds, since most weights lie far from the extremes. With
    ``symmetric`` a group has a scale alone: 0 is a level (except at 1 bit, where the levels are ± the mean magnitude)
    and the value of largest magnitude is another. group_size: 16, 32, 64, 128, 256, or None for one group per row; the
    last group of a row may be shorter.

    Raises InvalidRequestError, also for weights whose scales float16 cannot hold, and UnsupportedISAError.
    """
    w = _checked_weights(weights)
    rows, columns = w.shape
    padded = -(-columns // COLUMNS_TOGETHER) * COLUMNS_TOGETHER
    _check_format(bits, group_size, columns, scale_dtype)
    size = padded if group_size is None else min(group_size, padded)
    grid = _grid(w, bits, size, symmetric=symmetric).stored(scale_dtype)
    codes = np.zeros((rows, padded), np.uint8)
    codes[:, :columns] = _codes(w, bits, size, grid)
    grid = grid.padded(-(-padded // size))
    matrix = LowBitMatrix(
        rows=rows,
        columns=padded,
        bits=bits,
        group_size=size,
        source=codes,
        layout=plain_codes(),
        scale=grid.scale,
        zero_point=grid.zero_point,
        offset=grid.offset,
    )
    target = resolve_target(isa)
    return QuantizedMatrix(pack(matrix, target=target, threads=_threads(threads)), columns, target)


def matmul(
    x: ArrayLike,
    matrix: QuantizedMatrix,
    *,
    threads: int | None = None,
    precision: Precision = "default",
    prompt: bool = False,
) -> Floats:
    """``x @ W.T`` for activations x [n, K] (or [K]) and a quantised W [M, K]: [n, M] (or [M]) float32.

    By table lookup. The tables' entries are rounded to 8 bits, which costs a relative error of 0.6 to 0.8% for normal
    activations (the norm of the difference, over the norm of the product). precision "exact": float arithmetic on the
    dequantised weights, for comparison. prompt: as rows of prompts are multiplied, which ISA target "amx" does in
    bfloat16 on its matrix unit, and other targets as all rows. A row's result does not depend on the other rows or on
    threads. Raises InvalidRequestError.
    """
    if precision not in ("default", "exact"):
        raise InvalidRequestError(f"precision is {precision!r}, expected 'default' or 'exact'")
    activations = np.ascontiguousarray(x, dtype=np.float32)
    columns = matrix.shape[1]
    if activations.ndim not in (1, 2) or activations.shape[-1] != columns:
        raise InvalidRequestError(f"x has shape {activations.shape}, the matrix wants [n, {columns}] or [{columns}]")
    if not np.isfinite(activations).all():
        raise InvalidRequestError("x holds a value that is not finite")
    packed = matrix._packed
    rows = activations.reshape(-1, columns)
    if packed.columns > columns:
        rows = np.pad(rows, ((0, 0), (0, packed.columns - columns)))
    product: Floats = packed.matmul(rows, exact=precision == "exact", prompt=prompt, threads=_threads(threads))
    return product if activations.ndim == 2 else product[0]


def _checked_weights(weights: ArrayLike) -> Floats:
    w = np.ascontiguousarray(weights, dtype=np.float32)
    if w.ndim != 2 or w.size == 0:
        raise InvalidRequestError(f"weights have shape {w.shape}, expected [M, K] with M and K above 0")
    if not np.isfinite(w).all():
        raise InvalidRequestError("weights hold a value that is not finite")
    return w


def _check_format(bits: int, size: int | None, columns: int, scale_dtype: str) -> None:
    if bits not in range(1, 9):
        raise InvalidRequestError(f"bits is {bits}, expected 1 to 8")
    if size is not None and size not in GROUP_SIZES and not (size == columns and size % COLUMNS_TOGETHER == 0):
        allowed = ", ".join(map(str, GROUP_SIZES))
        raise InvalidRequestError(f"group_size is {size}, expected {allowed}, or None for one group per row")
    if scale_dtype not in SMALLEST_SCALE:
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
        """The grid in the precision in which it is kept. Raises InvalidRequestError where float16 does not reach."""
        with np.errstate(over="ignore"):
            scale = self.scale.astype(scale_dtype)
            offset = None if self.offset is None else self.offset.astype(scale_dtype)
        if not np.isfinite(scale).all() or (offset is not None and not np.isfinite(offset).all()):
            raise InvalidRequestError("weights are too large for float16 scales; use scale_dtype='float32'")
        magnitudes = np.abs(self.scale)
        if ((magnitudes > 0) & (magnitudes < SMALLEST_SCALE[scale_dtype])).any():
            raise InvalidRequestError(f"weights are too small for {scale_dtype} scales; {_WAY_OUT[scale_dtype]}")
        return _Grid(scale, self.zero_point, offset)

    def padded(self, groups: int) -> _Grid:
        """With so many groups; those of padding repeat the last."""
        more = ((0, 0), (0, groups - self.scale.shape[1]))
        offset = None if self.offset is None else np.pad(self.offset, more, mode="edge")
        return _Grid(np.pad(self.scale, more, mode="edge"), self.zero_point, offset)


_WAY_OUT = {"float16": "use scale_dtype='float32'", "float32": "multiply them by a power of two first"}


def _grid(w: Floats, bits: int, size: int, *, symmetric: bool) -> _Grid:
    if symmetric:
        return _symmetric(w, bits, size)
    return _fitted(w, bits, size) if bits <= FITTED_BITS else _asymmetric(w, bits, size)


def _fitted(w: Floats, bits: int, size: int) -> _Grid:
    """The levels of the least squared error."""

    def as_they_are(levels: Levels) -> Levels:
        return levels

    rows, columns = w.shape
    scale = np.empty((rows, -(-columns // size)), np.float32)
    offset = np.empty_like(scale)
    together = max(1, FITTED_TOGETHER // size)
    for first in range(0, rows, together):
        some = slice(first, first + together)
        for group, start in enumerate(range(0, columns, size)):
            weights = np.ascontiguousarray(w[some, start : start + size])
            levels = fit(AsymmetricIntegers(bits), weights, stored=as_they_are)
            scale[some, group], offset[some, group] = levels.scale, levels.offset
    return _Grid(scale, offset=offset)


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
