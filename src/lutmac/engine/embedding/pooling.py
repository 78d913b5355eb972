"""One vector of a text's hidden states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.embedding_config import Pooling


class Pool:
    """Reduces final hidden states as they come, by one mode or several whose vectors are put one behind the other.

    "mean" is over all tokens, "last" and "cls" take the last and the first one, "max" is the greatest of each value,
    "mean_sqrt_len_tokens" divides the sum by the root of the number of tokens, "weightedmean" weighs a token by its
    position from 1 on: sentence-transformers' modes
    (https://sbert.net/docs/package_reference/sentence_transformer/modules.html#pooling). Sums are in float64, of one
    row after the other: the same bits, however the text was cut into steps.
    """

    def __init__(
        self, modes: tuple[Pooling, ...], width: int, length: int, skip: int = 0, *, causal: bool = True
    ) -> None:
        """width: of a hidden state. length: tokens of the text, of which the first ``skip`` do not count.

        causal: whether tokens see only those before them.
        """
        self._modes = modes
        self._causal = causal
        self._length = length
        self._skip = min(skip, length - 1)
        self._totals = [np.full(width, -np.inf if mode == "max" else 0.0) for mode in modes]

    @property
    def first(self) -> int:
        """The first token whose hidden state is wanted."""
        return self._length - 1 if set(self._modes) == {"last"} else self._skip

    @property
    def end(self) -> int:
        """Tokens that have to run: in causal attention, what follows the first token does not change its state."""
        return self.until if self._causal else self._length

    @property
    def until(self) -> int:
        """The first token whose hidden state, and that of all behind it, is not wanted."""
        return self._skip + 1 if set(self._modes) == {"cls"} else self._length

    def add(self, position: int, hidden: NDArray[np.float32]) -> None:
        """Takes the hidden states [n, width] of the tokens from ``position`` on."""
        for mode, total in zip(self._modes, self._totals, strict=True):
            self._add_rows(mode, total, position, hidden)

    def _add_rows(self, mode: Pooling, total: NDArray[np.float64], position: int, rows: NDArray[np.float32]) -> None:
        match mode:
            case "max":
                np.maximum(total, rows.max(axis=0), out=total)
            case "weightedmean":
                places = np.arange(position + 1, position + 1 + len(rows), dtype=np.float64)
                _add_in_order(total, places[:, None] * rows)
            case "cls" | "last":
                place = (self._skip if mode == "cls" else self._length - 1) - position
                if 0 <= place < len(rows):
                    total += rows[place]
            case _:
                _add_in_order(total, rows)

    def vector(self) -> NDArray[np.float64]:
        """[modes * width]; after the last token."""
        return np.concatenate(
            [total / self._divisor(mode) for mode, total in zip(self._modes, self._totals, strict=True)]
        )

    def _divisor(self, mode: Pooling) -> float:
        count = self._length - self._skip
        match mode:
            case "mean":
                return count
            case "mean_sqrt_len_tokens":
                return float(np.sqrt(count))
            case "weightedmean":
                return count * (self._skip + 1 + self._length) / 2  # the sum of the weights
            case _:
                return 1.0


def _add_in_order(total: NDArray[np.float64], rows: NDArray[Any]) -> None:
    """Adds rows [n, width] one after the other: NumPy sums along the first axis in that order."""
    np.add.reduce(np.concatenate([total[None], rows], dtype=np.float64), axis=0, out=total)
