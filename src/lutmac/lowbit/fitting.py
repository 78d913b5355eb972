"""The levels of a group fitted to its weights: those with the least squared error that a search finds.

The widest levels cover all weights of a group; narrower ones clip a few and are finer for the others. Of the parts of
the widest that are tried, the best is moved a little, and then, its codes kept, scale and offset are solved for by
least squares, which may change codes, twice over. Errors of a column are weighted by its ``importance``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from lutmac.lowbit.formats import Floats, Format, Levels

# Levels that are tried, as parts of the widest.
SHRINKS: Final = tuple(1.0 - 0.035 * step for step in range(1, 18))
QUICK_SHRINKS: Final = (0.85, 0.7)
_SOLUTIONS: Final = 2
_SOLUTIONS_OF_A_BIT: Final = 8  # two levels begin far from where they end: the widest are of no use
_LARGEST_HALF: Final = 65504.0


def as_halves(levels: Levels) -> Levels:
    """Scales and offsets rounded to float16, in which they are kept."""

    def rounded(values: Floats) -> Floats:
        return np.clip(values, -_LARGEST_HALF, _LARGEST_HALF).astype(np.float16).astype(np.float32)

    return Levels(rounded(levels.scale), None if levels.offset is None else rounded(levels.offset))


def fit(
    format: Format,
    w: Floats,
    importance: Floats | None = None,
    *,
    quick: bool = False,
    stored: Callable[[Levels], Levels] = as_halves,
) -> Levels:
    """The levels of one group, weights [M, n], as they are kept; importance: [n].

    quick: a search of a few levels, where errors are only to be compared. stored: the nearest levels that can be kept.
    """
    widest = format.widest(w)
    shrinks = QUICK_SHRINKS if quick else SHRINKS
    search = _Search(format, w, importance, stored, stored(widest))
    search.look_at(format.shrunk(widest, by) for by in shrinks)
    if not quick:
        search.look_at(format.moved(search.best))
        for _ in range(_SOLUTIONS_OF_A_BIT if format.bits == 1 else _SOLUTIONS):
            search.look_at([solve(format, w, search.best, importance)])
    return search.best


def solve(format: Format, w: Floats, levels: Levels, importance: Floats | None = None) -> Levels:
    """The levels with the least squared error for weights [M, n] that keep the codes which they have with ``levels``.

    Where codes leave scale or offset open (all of them the same), that stays as it is.
    """
    ones, zeros = np.ones(len(w), np.float32), np.zeros(len(w), np.float32)
    power = np.ones(w.shape[1]) if importance is None else importance.astype(np.float64)
    codes = format.codes(w, levels)
    # Values are scale * a + offset * b.
    a = format.values(codes, Levels(ones, None if levels.offset is None else zeros)).astype(np.float64)
    aa, aw = np.square(a) @ power, (a * w) @ power
    if levels.offset is None:
        scale = np.divide(aw, aa, out=levels.scale.astype(np.float64), where=aa > 0)
        return Levels(scale.astype(np.float32))
    b = format.values(codes, Levels(zeros, ones)).astype(np.float64)
    bb, bw, ab = np.square(b) @ power, (b * w) @ power, (a * b) @ power
    determinant = aa * bb - np.square(ab)
    usable = determinant > 1e-6 * aa * bb
    scale = np.divide(aw * bb - bw * ab, determinant, out=levels.scale.astype(np.float64), where=usable)
    offset = np.divide(bw * aa - aw * ab, determinant, out=levels.offset.astype(np.float64), where=usable)
    return Levels(scale.astype(np.float32), offset.astype(np.float32))


class _Search:
    """The best levels so far, row by row."""

    def __init__(
        self,
        format: Format,
        w: Floats,
        importance: Floats | None,
        stored: Callable[[Levels], Levels],
        levels: Levels,
    ) -> None:
        self._format, self._w, self._importance, self._stored = format, w, importance, stored
        self.best, self._error = levels, self._error_of(levels)

    def look_at(self, candidates: Iterable[Levels]) -> None:
        """Takes from each what is better."""
        for candidate in candidates:
            levels = self._stored(candidate)
            error = self._error_of(levels)
            better = error < self._error
            self._error = np.where(better, error, self._error)
            offset = None
            if levels.offset is not None and self.best.offset is not None:
                offset = np.where(better, levels.offset, self.best.offset)
            self.best = Levels(np.where(better, levels.scale, self.best.scale), offset)

    def _error_of(self, levels: Levels) -> Floats:
        format, w = self._format, self._w
        squares = np.square(format.values(format.codes(w, levels), levels) - w)
        found: Floats = squares.sum(axis=1) if self._importance is None else squares @ self._importance
        return found
