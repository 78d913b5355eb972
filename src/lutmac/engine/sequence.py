"""A sequence: the tokens of one request, how far they are computed, and where their keys and values lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.kv_cache import pages_for
from lutmac.engine.logprobs import token_logprob
from lutmac.engine.results import TokenLogprob
from lutmac.engine.sampler import Sampler

LogitsSink = Callable[[int, NDArray[np.float32]], None]


class Sequence:
    """Tokens 0 .. length-1, of which the first ``computed`` have their keys and values in the cache.

    A generating sequence has a sampler and grows until ``max_length``, or until it draws one of ``stop_ids``. A scored
    one has ``sink(position, logits)`` instead: it is handed the logits of every position from ``logits_from`` on, which
    are valid during the call only. top_logprobs: how many alternatives ``logprobs`` holds for each generated token;
    None: it stays empty.

    parent: an ended sequence, the pages of which this one takes over when it starts, with what they have in common.
    keeps_pages: whether its pages wait for such a successor when it ends (until others need them).
    """

    def __init__(self, tokens: Iterable[int], max_length: int, num_groups: int) -> None:
        """num_groups: cache groups, each of which has a block table."""
        given = np.fromiter(tokens, dtype=np.int32)
        self.max_length = max(max_length, len(given))
        self._buffer = np.empty(self.max_length, dtype=np.int32)
        self._buffer[: len(given)] = given
        self.length = len(given)
        self.prompt_length = len(given)
        self.computed = 0
        self.reused = 0
        self.pages: list[list[int]] = [[] for _ in range(num_groups)]
        self.sampler: Sampler | None = None
        self.stop_ids: frozenset[int] = frozenset()
        self.top_logprobs: int | None = None
        self.logprobs: list[TokenLogprob] = []
        self.sink: LogitsSink | None = None
        self.logits_from = 0
        self.parent: Sequence | None = None
        self.keeps_pages = False
        self.finish_reason: str | None = None
        self.error: Exception | None = None

    @property
    def tokens(self) -> NDArray[np.int32]:
        """All tokens so far: a view."""
        return self._buffer[: self.length]

    @property
    def pending(self) -> int:
        """Tokens that have yet to run."""
        return self.length - self.computed

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run or draw."""
        return self.finish_reason is not None

    @property
    def pages_wanted(self) -> int:
        """Pages that it still lacks to reach max_length, in each cache group."""
        return max(0, pages_for(self.max_length) - len(self.pages[0]))

    def take_over_parent(self) -> None:
        """Moves the parent's pages here; what both begin with counts as computed, but for the last token."""
        parent, self.parent = self.parent, None
        if parent is None:
            return
        self.pages, parent.pages = parent.pages, [[] for _ in parent.pages]
        computed = min(parent.computed, self.length - 1)
        differs = np.flatnonzero(parent.tokens[:computed] != self.tokens[:computed])
        self.computed = self.reused = int(differs[0]) if len(differs) else computed
        parent.computed = 0

    def output_rows(self, count: int) -> range:
        """Which of the next ``count`` tokens, counted from ``computed``, want logits."""
        if self.sink is None:
            return range(count - 1, count) if count == self.pending else range(0)
        return range(min(count, max(0, self.logits_from - self.computed)), count)

    def advance(self, count: int, logits: NDArray[np.float32]) -> None:
        """Takes note that ``count`` tokens ran, with the logits [rows, vocab] of output_rows(count)."""
        if self.sink is not None:
            if len(logits):
                self.sink(self.computed + self.output_rows(count).start, logits)
            self.computed += count
            if self.pending == 0:
                self.finish_reason = "scored"
        elif count < self.pending:
            self.computed += count
        else:
            assert self.sampler is not None
            token = self.sampler.sample(logits[-1], self.tokens, self.prompt_length)
            self.computed += count
            self._append(token, logits[-1])

    def fail(self, error: Exception) -> None:
        """Ends the sequence; whoever waits for it is to raise the error."""
        self.error, self.finish_reason = error, "error"

    def _append(self, token: int, logits: NDArray[np.float32]) -> None:
        if token in self.stop_ids:
            self.finish_reason = "stop"
            return
        if self.top_logprobs is not None:
            self.logprobs.append(token_logprob(logits, token, self.top_logprobs))
        self._buffer[self.length] = token
        self.length += 1
        if self.length >= self.max_length:
            self.finish_reason = "length"
