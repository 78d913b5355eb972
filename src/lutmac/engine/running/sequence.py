"""A sequence: the tokens of one request, how far they are computed, and where their keys and values lie."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
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

GENERATED: Final = 0
PROMPT: Final = 1
"""The roles of tokens: on some targets they are computed by different arithmetic. What is drawn is generated."""

ROLE_SHIFT: Final = 28  # of a token in the prefix tree; vocabularies are far smaller than what is left below


def roles_of(length: int, reply_spans: Iterable[tuple[int, int]]) -> bytes:
    """The roles of a prompt's tokens: PROMPT but for spans [begin, end) of earlier replies, which are GENERATED."""
    roles = np.full(length, PROMPT, dtype=np.uint8)
    for begin, end in reply_spans:
        roles[begin:end] = GENERATED
    return roles.tobytes()


class Sequence:
    """The tokens of one request: 0 .. length-1, the first ``computed`` of which have keys and values in the cache.

    A sequence with a sampler generates: it grows until ``max_length``, or until a token of ``stop_ids`` is drawn. A
    sequence with a sink is scored: ``sink(position, rows)`` gets the logits of every position from ``sink_from`` on, or
    the final hidden states if ``wants_hidden`` is set. The rows are valid during the call only. Each position is handed
    over once, even if it is computed again. A sequence with both is scored up to the end of its prompt.

    top_logprobs: how many alternatives ``logprobs`` holds for each generated token and for the drawn token of stop_ids;
    None: logprobs stays empty. prompt_scores: collects log probabilities of the prompt's tokens; None: not asked for.
    reused: tokens of the prompt that were found in the cache. share: what its request has had of the engine. preempted:
    whether it has lost its pages since it began. underway: whether it is part of a step whose results are not recorded
    yet.

    whole: it runs in one step, and its tokens see each other. types: of its tokens, None where all are 0. sink_until:
    only positions before that are handed over; None: all.

    Only of models with slots: slot: the number of its slot while it runs. shared_prefix: how many tokens of the prompt
    a later prompt is likely to begin with, if known. places: the positions at which a snapshot of the slot is taken.
    """

    def __init__(
        self,
        tokens: Iterable[int],
        max_length: int,
        *,
        windows: tuple[int, ...] = (0,),
        private: bool = False,
        roles: bytes | None = None,
    ) -> None:
        """windows: of the cache groups. private: shares nothing with other sequences.

        roles: GENERATED or PROMPT for each of the tokens; what the cache has of other roles is not taken from it. None:
        both have one arithmetic, and all tokens count as generated.
        """
        given = np.fromiter(tokens, dtype=np.int32)
        self.max_length = max(max_length, len(given))
        self._buffer = np.empty(self.max_length, dtype=np.int32)
        self._buffer[: len(given)] = given
        self._keys = self._buffer
        self._role_ends: list[int] = []
        if roles is not None:
            of_given = np.frombuffer(roles, dtype=np.uint8)
            self._keys = self._buffer.copy()
            self._keys[: len(given)] |= of_given.astype(np.int32) << ROLE_SHIFT
            self._role_ends = (np.flatnonzero(np.diff(of_given, append=GENERATED)) + 1).tolist()
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
        self.sink_until: int | None = None
        self.whole = False
        self.types: NDArray[np.int32] | None = None
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
        """Whether a token is drawn at its end. Otherwise it is a text to be scored or embedded."""
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
        """The keys of tokens whose results may come from the cache: those whose rows nothing asks for."""
        return self._keys[: self.length - 1 if self.sink is None else min(self.sink_from, self.length - 1)]

    @property
    def computed_keys(self) -> NDArray[np.int32]:
        """The keys of the tokens whose keys and values are in the cache: a view."""
        return self._keys[: self.computed]

    def runnable(self, first: int) -> int:
        """Tokens from a position on that a slice may have: of one role, up to the next position of a snapshot."""
        end = self.length
        if self.places is not None:
            end = min(end, self.places.behind(first))
        if self._role_ends:
            later = bisect_right(self._role_ends, first)
            end = min([end, *self._role_ends[later : later + 1]])
        return end - first

    def role_at(self, position: int) -> int:
        """PROMPT or GENERATED."""
        return int(self._keys[position]) >> ROLE_SHIFT if self._role_ends else GENERATED

    @property
    def heading(self) -> object | None:
        """The page or snapshot that it completes next, equal for all sequences that could share it; None for none."""
        if self.places is None:
            return self.page_table.open_page(self.reusable)
        place = self.places.behind(self.computed)
        if place > len(self.reusable):
            return None
        if self._heading is None or self._heading[0] != place:
            self._heading = place, self._keys[:place].tobytes()
        return self._heading[1]

    def output_rows(self, first: int, count: int) -> range:
        """Those of ``count`` tokens from ``first`` on, counted from there, whose logits or hidden states are wanted."""
        begin = count if self.sink is None else min(count, max(0, self.sink_from - first))
        if first + count == self.length and (self.sink is None or self.sampler is not None):
            begin = min(begin, count - 1)
        return range(begin, count if self.sink_until is None else max(begin, min(count, self.sink_until - first)))

    def advance(self, count: int, rows: NDArray[np.float32]) -> None:
        """Records that ``count`` tokens were computed. rows: the results for their output rows."""
        done = count == self.pending
        if self.sink is not None:
            first = self.computed + self.output_rows(self.computed, count).start
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
        """Ends the sequence with an error, which its caller raises."""
        self.error, self.finish_reason = error, "error"

    def _append(self, token: int, logits: NDArray[np.float32]) -> None:
        if self.top_logprobs is not None:
            self.logprobs.append(token_logprob(logits, token, self.top_logprobs))
        if token in self.stop_ids:
            self.finish_reason, self.end_token = "stop", token
            return
        self._buffer[self.length] = token
        self._keys[self.length] = token  # as GENERATED
        self.length += 1
        if self.length >= self.max_length:
            self.finish_reason = "length"
