"""A sequence: the tokens of one request, how far they are computed, and where their keys and values lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.running.page_table import PageTable
from lutmac.engine.running.share import Share
from lutmac.engine.running.snapshots import Places
from lutmac.engine.sampling.logprobs import token_logprob
from lutmac.engine.sampling.prompt_scores import PromptScores
from lutmac.engine.sampling.results import TokenLogprob
from lutmac.engine.sampling.sampler import Sampler

Sink = Callable[[int, NDArray[np.float32]], None]

ROLE_SHIFT: Final = 28  # of a token in the prefix tree; vocabularies are far smaller than what is left below


@dataclass(frozen=True)
class Roles:
    """By which arithmetic tokens run, as small integers: what one role has computed is of no use to another.

    given: of each token of the prompt, a byte each, below 8. drawn: of those that follow.
    """

    given: bytes
    drawn: int


class Sequence:
    """Tokens 0 .. length-1, of which the first ``computed`` have their keys and values in the cache.

    A generating sequence has a sampler and grows until ``max_length``, or until it draws one of ``stop_ids``. A scored
    one has ``sink(position, rows)``: it is handed the logits of every position from ``sink_from`` on, or with
    wants_hidden their final hidden states; they are valid during the call only. Each position comes once, whatever is
    computed again: ``sink_from`` moves on. One with both is scored up to the end of its prompt. top_logprobs: how many
    alternatives ``logprobs`` holds for each generated token, and for the token of stop_ids that was drawn; None: it
    stays empty. prompt_scores: what takes down the log probabilities of the prompt's tokens, where somebody asked for
    them.

    reused: tokens of the prompt that were found in the cache. share: what its request has had of the engine; of its own
    unless it is set. preempted: whether it has had to give its pages up since it began. underway: whether a step of it
    has begun whose end has not been taken note of.
    slot: where what it keeps in fixed size lies while it runs. shared_prefix: how many of the prompt's tokens a later
    prompt is likely to begin with, where somebody knows. places: where it leaves snapshots of its slot, while it runs.
    """

    def __init__(
        self,
        tokens: Iterable[int],
        max_length: int,
        *,
        windows: tuple[int, ...] = (0,),
        private: bool = False,
        roles: Roles | None = None,
    ) -> None:
        """windows: of the cache groups. private: nothing of it is shared with other sequences, now or later.

        roles: default, all tokens have role 0.
        """
        given = np.fromiter(tokens, dtype=np.int32)
        self.max_length = max(max_length, len(given))
        self._buffer = np.empty(self.max_length, dtype=np.int32)
        self._buffer[: len(given)] = given
        self._keys = self._buffer
        self._roles = roles
        if roles is not None:
            self._keys = self._buffer.copy()
            self._keys[: len(given)] |= np.frombuffer(roles.given, dtype=np.uint8).astype(np.int32) << ROLE_SHIFT
        self.length = len(given)
        self.prompt_length = len(given)
        self.computed = 0
        self.reused = 0
        self.share = Share()
        self.preempted = False
        self.underway = False
        self.slot: int | None = None
        self.shared_prefix: int | None = None
        self.places: Places | None = None
        self._heading: tuple[int, bytes] | None = None
        self.page_table = PageTable(self.max_length, windows, private=private)
        self.sampler: Sampler | None = None
        self.stop_ids: frozenset[int] = frozenset()
        self.top_logprobs: int | None = None
        self.logprobs: list[TokenLogprob] = []
        self.prompt_scores: PromptScores | None = None
        self.sink: Sink | None = None
        self.sink_from = 0
        self.wants_hidden = False
        self.finish_reason: str | None = None
        self.end_token: int | None = None
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
    def generates(self) -> bool:
        """Whether a token is drawn behind what there is; else it is a text to be scored or embedded."""
        return self.sampler is not None or self.sink is None

    @property
    def begins(self) -> bool:
        """Whether the first token of its reply is still to come."""
        return self.generates and self.length == self.prompt_length

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run or draw."""
        return self.finish_reason is not None

    @property
    def keys(self) -> NDArray[np.int32]:
        """The tokens as the prefix tree compares them, each with its role in the bits above ROLE_SHIFT: a view."""
        return self._keys[: self.length]

    @property
    def reusable(self) -> NDArray[np.int32]:
        """The keys of tokens that need not run where the cache has them: nobody asks what the model makes of them."""
        return self._keys[: self.length - 1 if self.sink is None else min(self.sink_from, self.length - 1)]

    @property
    def computed_keys(self) -> NDArray[np.int32]:
        """The keys of the tokens whose keys and values are in the cache: a view."""
        return self._keys[: self.computed]

    @property
    def runnable(self) -> int:
        """Tokens that may run in one step: up to where it leaves a snapshot."""
        return (
            self.pending
            if self.places is None
            else min(self.pending, self.places.behind(self.computed) - self.computed)
        )

    @property
    def heading(self) -> object | None:
        """What it comes to have next that others can take over: equal for all who could. None where nobody can."""
        if self.places is None:
            return self.page_table.open_page(self.reusable)
        place = self.places.behind(self.computed)
        if place > len(self.reusable):
            return None
        if self._heading is None or self._heading[0] != place:
            self._heading = place, self._keys[:place].tobytes()
        return self._heading[1]

    def output_rows(self, count: int) -> range:
        """Which of the next ``count`` tokens, counted from ``computed``, want logits or hidden states."""
        first = count if self.sink is None else min(count, max(0, self.sink_from - self.computed))
        if count == self.pending and (self.sink is None or self.sampler is not None):
            first = min(first, count - 1)
        return range(first, count)

    def advance(self, count: int, rows: NDArray[np.float32]) -> None:
        """Takes note that ``count`` tokens ran, with the rows that output_rows(count) asked for."""
        done = count == self.pending
        if self.sink is not None:
            first = self.computed + self.output_rows(count).start
            scored = rows if self.sampler is None else rows[: max(0, self.prompt_length - first)]
            if len(scored):
                self.sink(first, scored)
                self.sink_from = first + len(scored)  # whatever is computed again is not handed over again
        if not done:
            self.computed += count
        elif self.sampler is None:
            self.computed += count
            self.finish_reason = "scored"
        elif self.length >= self.max_length:  # nothing was to be generated
            self.computed += count
            self.finish_reason = "length"
        else:
            token = self.sampler.sample(rows[-1], self.tokens, self.prompt_length)
            self.computed += count
            self._append(token, rows[-1])
        self.share.served += count

    def fail(self, error: Exception) -> None:
        """Ends the sequence; whoever waits for it is to raise the error."""
        self.error, self.finish_reason = error, "error"

    def _append(self, token: int, logits: NDArray[np.float32]) -> None:
        if self.top_logprobs is not None:
            self.logprobs.append(token_logprob(logits, token, self.top_logprobs))
        if token in self.stop_ids:
            self.finish_reason, self.end_token = "stop", token
            return
        self._buffer[self.length] = token
        if self._roles is not None:
            self._keys[self.length] = token | self._roles.drawn << ROLE_SHIFT
        self.length += 1
        if self.length >= self.max_length:
            self.finish_reason = "length"
