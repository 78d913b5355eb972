"""One vector of a text's hidden states."""

from __future__ import annotations

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

    def __init__(self, modes: tuple[Pooling, ...], width: int, length: int, skip: int = 0) -> None:
        """width: of a hidden state. length: tokens of the text, of which the first ``skip`` do not count."""
        self._modes = modes
        self._length = length
        self._skip = min(skip, length - 1)
        self._totals = [np.full(width, -np.inf if mode == "max" else 0.0) for mode in modes]

    @property
    def first(self) -> int:
        """The first token whose hidden state is wanted."""
        return self._length - 1 if set(self._modes) == {"last"} else self._skip

    @property
    def end(self) -> int:
        """Tokens that have to run: attention is causal, so what follows the first token does not change its state."""
        return self._skip + 1 if set(self._modes) == {"cls"} else self._length

    def add(self, position: int, hidden: NDArray[np.float32]) -> None:
        """Takes the hidden states [n, width] of the tokens from ``position`` on."""
        for place, row in enumerate(hidden, position):
            for mode, total in zip(self._modes, self._totals, strict=True):
                self._add_row(mode, total, place, row)

    def _add_row(self, mode: Pooling, total: NDArray[np.float64], place: int, row: NDArray[np.float32]) -> None:
        match mode:
            case "max":
                np.maximum(total, row, out=total)
            case "weightedmean":
                total += (place + 1) * row.astype(np.float64)
            case "cls" | "last":
                if place == (self._skip if mode == "cls" else self._length - 1):
                    total += row
            case _:
                total += row

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
