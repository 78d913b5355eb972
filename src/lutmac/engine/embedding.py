"""Embeddings of texts: pooled hidden states."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.engine import Engine
from lutmac.engine.sequence import Sequence

Pooling = Literal["mean", "last"]
AT_ONCE = 8  # texts in the engine at a time, so that others find a place between them


class _Pool:
    """A text on its way: its sequence, and the sum of what has come out."""

    def __init__(self, engine: Engine, tokens: list[int], pooling: Pooling) -> None:
        self.total = np.zeros(engine.hidden_size, dtype=np.float64)
        self.sequence: Sequence = engine.new_sequence(tokens, len(tokens), private=pooling == "mean")
        self.sequence.sink, self.sequence.wants_hidden = self._add, True
        self.sequence.sink_from = 0 if pooling == "mean" else len(tokens) - 1

    def _add(self, position: int, hidden: NDArray[np.float32]) -> None:
        for row in hidden:  # one by one: the same order, and so the same bits, however the text was cut into steps
            self.total += row


def embed(engine: Engine, texts: list[list[int]], pooling: Pooling) -> NDArray[np.float32]:
    """[n, hidden size] float32, each row of length 1 (or 0, for a model that makes nothing of the text).

    "mean" is over the final hidden states of all tokens, "last" takes that of the last. Raises ContextOverflowError
    where a text does not fit into the context.
    """
    pools = [_Pool(engine, tokens, pooling) for tokens in texts]
    submitted: deque[_Pool] = deque()
    try:
        for index, pool in enumerate(pools):
            engine.submit(pool.sequence)
            submitted.append(pool)
            if index >= AT_ONCE:
                _finish(engine, submitted.popleft())
        while submitted:
            _finish(engine, submitted.popleft())
    finally:
        for pool in submitted:
            engine.stop(pool.sequence)
    found = np.array([pool.total for pool in pools]).reshape(len(pools), engine.hidden_size)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def _finish(engine: Engine, pool: _Pool) -> None:
    try:
        engine.drive(pool.sequence, pool.sequence.length)
    finally:
        engine.stop(pool.sequence)
