"""Perplexity of a model on a text, by the convention of llama.cpp's perplexity tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.running.engine import Engine
from lutmac.errors import InvalidRequestError

Progress = Callable[[int, int, str], None]
ROWS_AT_ONCE = 16  # float64 rows of a large vocabulary are megabytes


@dataclass(frozen=True)
class Perplexity:
    """``exp`` of the mean negative log-likelihood of ``tokens_scored`` tokens, and its standard error."""

    perplexity: float
    standard_error: float
    tokens_scored: int
    windows: int
    context: int


def measure_perplexity(
    engine: Engine, tokens: list[int], bos: int | None, *, ctx: int, windows: int, progress: Progress | None = None
) -> Perplexity:
    """Cuts ``tokens`` into windows of ``ctx`` and scores the second half of each, from its own window alone.

    Of a window's positions 0 .. ctx-1, those from ctx // 2 + 1 on are predicted: 255 of 512. bos, where the model wants
    one, has to be the first of ``tokens`` already; it takes the place of every window's first token.
    Raises InvalidRequestError where the text is shorter than one window.
    """
    count = min(windows, len(tokens) // ctx)
    if count == 0:
        raise InvalidRequestError(f"the text has {len(tokens)} tokens, fewer than one window of {ctx}")
    scores: list[float] = []
    for index in range(count):
        window = np.array(tokens[index * ctx : (index + 1) * ctx], dtype=np.int32)
        if bos is not None:
            window[0] = bos
        scores += _score(engine, window, ctx // 2)
        if progress is not None:
            progress(index + 1, count, "perplexity")
    losses = np.array(scores)
    mean = float(losses.mean())
    spread = sqrt(float(losses.var()) / (len(losses) - 1)) if len(losses) > 1 else 0.0
    return Perplexity(exp(mean), exp(mean) * spread, len(losses), count, ctx)


def _score(engine: Engine, window: NDArray[np.int32], first: int) -> list[float]:
    """Negative log-likelihoods of window[first + 1 :]."""
    losses: list[float] = []

    def sink(position: int, logits: NDArray[np.float32]) -> None:
        for begin in range(0, len(logits), ROWS_AT_ONCE):
            rows = logits[begin : begin + ROWS_AT_ONCE].astype(np.float64)
            targets = window[position + begin + 1 :][: len(rows)]
            highest = rows.max(axis=1)
            totals = np.log(np.exp(rows - highest[:, None]).sum(axis=1)) + highest
            losses.extend((totals - rows[np.arange(len(rows)), targets]).tolist())

    sequence = engine.new_sequence(window[:-1], len(window) - 1, private=True)
    sequence.sink, sequence.sink_from = sink, first
    engine.submit(sequence)
    try:
        engine.drive(sequence, sequence.length)
    finally:
        engine.stop(sequence)
    return losses
