"""Low-bit matrices with a scale and an integer zero point per group, as most Hugging Face formats have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix, TwoLevel, plain_codes

Array = NDArray[Any]


def group_affine(
    codes: NDArray[np.uint8],
    *,
    bits: int,
    group_size: int,
    scale: Array,
    zeros: Array | None = None,
    permutation: NDArray[np.int32] | None = None,
) -> LowBitMatrix:
    """``W[m, k] = scale[m, g] * (codes[m, k] - zeros[m, g])``, without loss.

    codes: [M, K]. scale: [M, G] float. zeros: [M, G] integers from 0 to 2**bits - 1; None is 2**(bits - 1) throughout.
    permutation: column k of codes multiplies activation ``permutation[k]``.
    """
    rows, columns = codes.shape
    scale = np.ascontiguousarray(scale)
    zero_point, offset = float(2 ** (bits - 1)), None
    if zeros is not None and zeros.size and (zeros == zeros.flat[0]).all():
        zero_point = float(zeros.flat[0])
    elif zeros is not None:
        # What a zero point differs from the middle by, times the scale: int8 under the scale itself.
        middle = 2 ** (bits - 1) - (bits == 8)
        zero_point = float(middle)
        offset = TwoLevel((middle - zeros.astype(np.int16)).astype(np.int8), scale, 1)
    return LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=bits,
        group_size=group_size,
        source=codes,
        layout=plain_codes(),
        scale=scale,
        zero_point=zero_point,
        offset=offset,
        input_permutation=permutation,
    )


def group_size_of(what: str, columns: int, groups: int, stated: int | None) -> int:
    """Weights that share a scale, of ``columns`` in ``groups`` groups; ``stated`` is what the configuration says.

    Raises CheckpointError where the three do not fit, and UnsupportedModelError for a size that no kernel has.
    """
    size = columns if stated is None or stated <= 0 or groups == 1 else stated
    if groups < 1 or -(-columns // size) != groups:
        if groups < 1 or columns % groups:
            raise CheckpointError(f"{what}: {groups} groups do not divide {columns} columns")
        size = columns // groups
    if columns % 32:
        raise UnsupportedModelError(f"{what}: has {columns} columns; lutmac needs a multiple of 32")
    if size not in (columns, 16) and size % 32:
        raise UnsupportedModelError(f"{what}: groups of {size} weights are not supported; 16 and multiples of 32 are")
    return size


def order_of_groups(what: str, group_of: Array, group_size: int, groups: int) -> NDArray[np.int32] | None:
    """The order of columns that puts the members of each group side by side; None where they lie so already.

    group_of: [K], the group of each column (``g_idx``). Raises CheckpointError for groups that do not exist, and
    UnsupportedModelError for groups of unequal size.
    """
    columns = len(group_of)
    expected = np.arange(columns) // group_size
    if (group_of == expected).all():
        return None
    if group_of.min() < 0 or group_of.max() >= groups:
        raise CheckpointError(f"{what}: g_idx names group {group_of.min()} to {group_of.max()}, there are {groups}")
    order = np.argsort(group_of, kind="stable").astype(np.int32)
    if not (group_of[order] == expected).all():
        raise UnsupportedModelError(f"{what}: g_idx makes groups of unequal size, which lutmac does not support")
    return order


def exact_scales(values: Array, dtype: str) -> Array:
    """Scales of a safetensors type as float16 where that loses nothing, else as float32.

    dtype: F16, F32, or BF16, whose values come as the bits in uint16.
    """
    if dtype == "F16":
        return values
    wide = (values.astype(np.uint32) << np.uint32(16)).view(np.float32) if dtype == "BF16" else values
    with np.errstate(over="ignore"):
        half = wide.astype(np.float16)
    return half if (half.astype(np.float32) == wide).all() else np.ascontiguousarray(wide, np.float32)
