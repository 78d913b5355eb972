"""Matrices to codes: every weight to its nearest level, or column by column with errors made good (GPTQ)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac.lowbit.fitting import as_halves, fit
from lutmac.lowbit.formats import Codes, Floats, Format, Levels
from lutmac.lowbit.matrix import LowBitMatrix, Parameter, plain_codes

Moments = NDArray[np.float32]  # [K, K]: the mean of x x^T over the inputs of a product
DAMPING: Final = 0.01  # of the mean of the diagonal, added to it: GPTQ's own choice
_COLUMNS_AT_ONCE: Final = 128


class Scales(Protocol):
    """How the scales and offsets of a matrix are kept."""

    def stored(self, group: int) -> Callable[[Levels], Levels]:
        """From levels to those nearest to them that the group can have."""

    def parameters(self, fitted: list[Levels]) -> tuple[Parameter, Parameter | None]:
        """Scale and offset of the matrix, from the levels of its groups."""


class HalfScales:
    """Each one a float16."""

    def stored(self, group: int) -> Callable[[Levels], Levels]:
        """See Scales."""
        return as_halves

    def parameters(self, fitted: list[Levels]) -> tuple[Parameter, Parameter | None]:
        """See Scales."""
        scale = np.stack([levels.scale for levels in fitted], axis=1).astype(np.float16)
        offsets = [levels.offset for levels in fitted if levels.offset is not None]
        return scale, np.stack(offsets, axis=1).astype(np.float16) if offsets else None


HALVES: Final = HalfScales()


def round_to_nearest(
    w: Floats,
    format: Format,
    group_size: int,
    importance: Floats | None = None,
    *,
    quick: bool = False,
    scales: Scales = HALVES,
) -> LowBitMatrix:
    """Every weight of w [M, K] to the nearest level of its group; importance (of columns) and quick: see fit."""
    rows, columns = w.shape
    codes, fitted = np.empty((rows, columns), np.uint8), []
    for start in range(0, columns, group_size):
        group = slice(start, min(start + group_size, columns))
        part = None if importance is None else importance[group]
        levels = fit(format, w[:, group], part, quick=quick, stored=scales.stored(start // group_size))
        codes[:, group] = format.codes(w[:, group], levels)
        fitted.append(levels)
    return assemble(codes, fitted, format, group_size, scales)


def gptq(w: Floats, format: Format, group_size: int, moments: Moments, *, scales: Scales = HALVES) -> LowBitMatrix:
    """GPTQ (Frantar et al., 2023): a column's rounding error is made good by the columns still to come.

    moments: of the product's inputs. Groups come in the order of their inputs' power, and columns within a group too
    ("act order"), so that what matters most is rounded while there is most left to make it good with; since groups stay
    whole, the columns need no other order in the matrix. A group's levels are fitted when its turn comes.
    """
    rows, columns = w.shape
    power = np.diagonal(moments).astype(np.float64)
    order = _order(power, group_size)
    inverse = _upper_inverse(moments, order)
    left = np.ascontiguousarray(w[:, order].T)  # [K, M]: a column of w lies together
    left[power[order] == 0] = 0  # inputs that are always 0: any weight will do
    codes = np.empty((columns, rows), np.uint8)
    fitted: list[Levels] = [Levels(np.zeros(rows, np.float32))] * (-(-columns // group_size))
    for start in range(0, columns, _COLUMNS_AT_ONCE):
        end = min(start + _COLUMNS_AT_ONCE, columns)
        errors = np.empty((end - start, rows), np.float32)
        for column in range(start, end):
            group = int(order[column]) // group_size
            if column == 0 or group != int(order[column - 1]) // group_size:
                if column > start:  # the group's later columns have to know of the errors so far
                    left[end:] -= inverse[start:column, end:].T @ errors[: column - start]
                    inverse[start:column, end:] = 0
                last = column + min(group_size, columns - group * group_size)
                importance = power[order[column:last]].astype(np.float32)
                fitted[group] = fit(format, left[column:last].T, importance, stored=scales.stored(group))
            levels = fitted[group]
            codes[column] = format.codes(left[column, :, None], levels)[:, 0]
            rounded = format.values(codes[column, :, None], levels)[:, 0]
            error = (left[column] - rounded) / inverse[column, column]
            left[column:end] -= inverse[column, column:end, None] * error
            errors[column - start] = error
        left[end:] -= inverse[start:end, end:].T @ errors
    back = np.argsort(order)
    return assemble(np.ascontiguousarray(codes[back].T), fitted, format, group_size, scales)


def _order(power: NDArray[np.float64], group_size: int) -> NDArray[np.intp]:
    starts = range(0, len(power), group_size)
    means = [power[start : start + group_size].mean() for start in starts]
    parts = []
    for group in np.argsort(means, kind="stable")[::-1]:
        start = int(group) * group_size
        parts.append(start + np.argsort(-power[start : start + group_size], kind="stable"))
    return np.concatenate(parts)


def _upper_inverse(moments: Moments, order: NDArray[np.intp]) -> Floats:
    """The upper Cholesky factor of the inverse of the damped moments, columns in that order."""
    h = moments[np.ix_(order, order)].astype(np.float64)
    diagonal = np.diagonal(h).copy()
    diagonal[diagonal == 0] = 1
    np.fill_diagonal(h, diagonal + DAMPING * diagonal.mean())
    lower = np.linalg.cholesky(np.linalg.inv(h))
    upper: Floats = np.ascontiguousarray(lower.T, np.float32)
    return upper


def assemble(
    codes: Codes, fitted: list[Levels], format: Format, group_size: int, scales: Scales = HALVES
) -> LowBitMatrix:
    """The low-bit matrix of these codes [M, K] and of the levels of each group."""
    rows, columns = codes.shape
    first, second = format.codebooks or (None, None)
    scale, offset = scales.parameters(fitted)
    return LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=format.bits,
        group_size=group_size,
        source=codes,
        layout=plain_codes(),
        scale=scale,
        zero_point=format.zero_point,
        offset=offset,
        codebook=first,
        second_codebook=second,
        ternary=format.ternary,
    )


def output_error(error: Floats, moments: Moments | None) -> float:
    """The mean square of what a product with inputs of these moments gets wrong, summed over its rows.

    error: [M, K], what the weights are off by. Without moments, inputs are taken as white.
    """
    if moments is None:
        return float(np.square(error, dtype=np.float64).sum())
    return float(np.einsum("mk,mk->", error @ moments, error, dtype=np.float64))
