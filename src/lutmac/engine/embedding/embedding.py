"""Texts on their way to their vectors: few at a time, as ordinary sequences."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as TokenSequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.embedding_config import Pooling
from lutmac.engine.embedding.pooling import Pool
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.share import Share

AT_ONCE = 8  # texts of a request in the engine at a time
TOKENS_AT_ONCE = 128  # another one begins only while these have fewer: enough to fill a step, and long texts go singly


@dataclass(frozen=True)
class TextBatch:
    """The texts of one request.

    texts: token ids, none empty. pooling: what becomes of their hidden states. skip: the first so many tokens of each
    text do not count.
    """

    texts: TokenSequence[TokenSequence[int]]
    pooling: tuple[Pooling, ...] = ("mean",)
    skip: int = 0


@dataclass(eq=False)
class EmbeddingJob:
    """Hands an engine the texts of a batch a few at a time, and gathers their vectors.

    Whoever drives the engine submits what ``due`` yields, waits for the ``oldest`` to finish and calls ``take``, until
    it is ``done``; then ``vectors`` are complete. Closing early: stop what is ``underway``.
    """

    engine: Engine
    batch: TextBatch
    share: Share = field(default_factory=Share)

    def __post_init__(self) -> None:
        """Nothing is submitted yet."""
        width = self.engine.hidden_size * len(self.batch.pooling)
        self.vectors: NDArray[np.float64] = np.empty((len(self.batch.texts), width))
        self.underway: deque[Sequence] = deque()
        self._pools: deque[Pool] = deque()
        self._begun = 0

    @property
    def done(self) -> bool:
        """Whether all vectors are there."""
        return self._begun == len(self.batch.texts) and not self.underway

    @property
    def oldest(self) -> Sequence:
        """The sequence to wait for."""
        return self.underway[0]

    def due(self) -> Iterator[Sequence]:
        """The sequences to submit by now. Raises ContextOverflowError."""
        while self._begun < len(self.batch.texts) and len(self.underway) < AT_ONCE:
            if sum(sequence.length for sequence in self.underway) >= TOKENS_AT_ONCE:
                return
            yield self._begin(self.batch.texts[self._begun])

    def take(self) -> None:
        """Takes the vector of the oldest sequence, which has finished."""
        self.vectors[self._begun - len(self.underway)] = self._pools.popleft().vector()
        self.underway.popleft()

    def _begin(self, ids: TokenSequence[int]) -> Sequence:
        pool = Pool(self.batch.pooling, self.engine.hidden_size, len(ids), self.batch.skip)
        # What is read from the first token on cannot begin with what others have computed, nor do others begin so.
        sequence = self.engine.new_sequence(ids[: pool.end], pool.end, private=pool.first == 0)
        sequence.sink, sequence.sink_from, sequence.wants_hidden = pool.add, pool.first, True
        sequence.share = self.share
        self.underway.append(sequence)
        self._pools.append(pool)
        self._begun += 1
        return sequence


def embed(engine: Engine, batch: TextBatch) -> NDArray[np.float64]:
    """[n, hidden size * pooling modes]: a vector for each text. Raises ContextOverflowError."""
    job = EmbeddingJob(engine, batch)
    try:
        while not job.done:
            for sequence in job.due():
                engine.submit(sequence)
            engine.drive(job.oldest, job.oldest.length)
            job.take()
    finally:
        for sequence in job.underway:
            engine.stop(sequence)
    return job.vectors
