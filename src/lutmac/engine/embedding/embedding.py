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
from lutmac.errors import InvalidRequestError

AT_ONCE = 8  # texts of a request in the engine at a time
TOKENS_AT_ONCE = 128  # another one begins only while these have fewer: enough to fill a step, and long texts go singly
STEPS_AT_ONCE = 2  # the same where a step has only whole texts: enough to choose from, so that steps are full


@dataclass(frozen=True)
class TextBatch:
    """The texts of one request.

    texts: token ids, none empty. pooling: what becomes of their hidden states. skip: the first so many tokens of each
    text do not count. types: of each text the types of its tokens, where it is a pair of texts; None: all are 0.
    classified: the logits of the model's head for whole texts are wanted, and not hidden states.
    """

    texts: TokenSequence[TokenSequence[int]]
    pooling: tuple[Pooling, ...] = ("mean",)
    skip: int = 0
    types: TokenSequence[TokenSequence[int]] | None = None
    classified: bool = False


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
        """Nothing is submitted yet. Raises InvalidRequestError where the model has no head for whole texts."""
        engine, batch = self.engine, self.batch
        if batch.classified and not (engine.reads_whole_texts and engine.logits_size):
            raise InvalidRequestError("this model has no head that classifies texts")
        width = engine.logits_size if batch.classified else engine.hidden_size * len(batch.pooling)
        self.vectors: NDArray[np.float64] = np.empty((len(batch.texts), width))
        self.underway: deque[Sequence] = deque()
        self._pools: deque[Pool] = deque()
        self._begun = 0
        whole = engine.reads_whole_texts
        self._most = engine.max_sequences if whole else AT_ONCE
        self._most_tokens = STEPS_AT_ONCE * engine.step_tokens if whole else TOKENS_AT_ONCE

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
        while self._begun < len(self.batch.texts) and len(self.underway) < self._most:
            if sum(sequence.length for sequence in self.underway) >= self._most_tokens:
                return
            yield self._begin(self._begun)

    def take(self) -> None:
        """Takes the vector of the oldest sequence, which has finished."""
        self.vectors[self._begun - len(self.underway)] = self._pools.popleft().vector()
        self.underway.popleft()

    def _begin(self, index: int) -> Sequence:
        engine, batch = self.engine, self.batch
        ids, types = batch.texts[index], None if batch.types is None else batch.types[index]
        pool = self._pool(len(ids))
        # What is read from the first token on cannot begin with what others have computed, nor do others begin so.
        sequence = engine.new_text(ids[: pool.end], pool.end, private=pool.first == 0, types=types)
        sequence.sink, sequence.sink_from, sequence.sink_until = pool.add, pool.first, pool.until
        sequence.wants_hidden = not batch.classified
        sequence.share = self.share
        self.underway.append(sequence)
        self._pools.append(pool)
        self._begun += 1
        return sequence

    def _pool(self, length: int) -> Pool:
        """A head's logits are those of the first row: the head itself has pooled."""
        if self.batch.classified:
            return Pool(("cls",), self.engine.logits_size, length, causal=False)
        causal = not self.engine.reads_whole_texts
        return Pool(self.batch.pooling, self.engine.hidden_size, length, self.batch.skip, causal=causal)


def embed(engine: Engine, batch: TextBatch) -> NDArray[np.float64]:
    """[n, hidden size * pooling modes]: a vector for each text; [n, logits] where they are classified.

    Raises ContextOverflowError, and InvalidRequestError where there is no head to classify by.
    """
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
