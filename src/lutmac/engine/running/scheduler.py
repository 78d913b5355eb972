"""What runs in the next step."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lutmac.engine.running.sequence import Sequence

OLDEST_SHARE = 4  # the oldest prompt gets at least one in so many of the tokens that a step has for prompts
OLDEST_TURN = 4  # of so many sequences that begin, one is the one that has waited for longest


_GROUPS: Final[tuple[Callable[[Sequence], object], ...]] = (
    lambda sequence: sequence.share.client,
    lambda sequence: sequence.share,
)


@dataclass(frozen=True)
class Slice:
    """The next ``count`` tokens of a sequence."""

    sequence: Sequence
    count: int


class Scheduler:
    """Takes sequences in while there is room, and cuts steps from those that run.

    Of those that wait, one whose client, and of these whose request, has the fewest running begins first, and every
    fourth time the one that has waited for longest: so nobody's many texts keep another's only one waiting, and all
    come to their turn. Where a client has none running for want of room, one that has several gives up its youngest.

    A step holds first the sequences that wait for one token, then pieces of prompts, up to ``max_batch_tokens`` tokens
    and ``max_output_rows`` rows of logits (they would fill the memory where whole texts are scored). Of the prompts
    the one whose request has been served least goes first, so that a short one does not wait for a long one to end;
    the oldest is sure of its share, so that the long one ends too.
    """

    def __init__(self, max_batch_tokens: int, max_sequences: int, max_output_rows: int) -> None:
        """max_sequences: how many run at a time; max_output_rows is at least that."""
        self.max_batch_tokens = max_batch_tokens
        self.max_sequences = max_sequences
        self.max_output_rows = max_output_rows
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # as they were admitted, the oldest first
        self._admitted = 0

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forgets a sequence, if it is still known."""
        if sequence in self.running:
            self.running.remove(sequence)
        if sequence in self.waiting:
            self.waiting.remove(sequence)

    def admit(self, fits: Callable[[Sequence], bool]) -> None:
        """Starts waiting sequences while there is a place and ``fits`` finds pages for the next one."""
        while self.waiting and len(self.running) < self.max_sequences and fits(next_one := self._next()):
            self.waiting.remove(next_one)
            self.running.append(next_one)
            self._admitted += 1

    def preempt(self) -> Sequence:
        """Sends the youngest back to wait, before all others."""
        sequence = self.running[-1]
        self.send_back(sequence)
        return sequence

    def send_back(self, sequence: Sequence) -> None:
        """Sends one that runs back to wait, before all others."""
        self.running.remove(sequence)
        self.waiting.appendleft(sequence)

    def make_room(self) -> Sequence | None:
        """Sends one back to wait, behind all others, where somebody has none running and somebody else has several.

        Somebody is a client, or among requests of clients that all have some, a request.
        """
        for group in _GROUPS:
            running = Counter(map(group, self.running))
            if any(not running[group(sequence)] for sequence in self.waiting):
                most = max(running.values(), default=0)
                if most < 2:
                    continue
                victim = next(sequence for sequence in reversed(self.running) if running[group(sequence)] == most)
                self.running.remove(victim)
                self.waiting.append(victim)
                return victim
        return None

    def _next(self) -> Sequence:
        """Of those that wait, the one to begin."""
        oldest = self.waiting[0]
        if oldest.preempted or self._admitted % OLDEST_TURN == OLDEST_TURN - 1:
            return oldest
        clients, requests = (Counter(map(group, self.running)) for group in _GROUPS)
        return min(self.waiting, key=lambda one: (clients[one.share.client], requests[one.share]))

    @property
    def decoding(self) -> bool:
        """Whether a sequence waits for one token."""
        return any(sequence.pending == 1 for sequence in self.running)

    def next_batch(self, prompt_tokens: int) -> list[Slice]:
        """The slices of the next step, with at most so many tokens of prompts; none where nothing is running."""
        batch = _Batch(self.max_batch_tokens, self.max_output_rows)
        for sequence in self.running:
            if sequence.pending == 1:
                batch.add(sequence, 1)
        prompts = self._prompts()
        if prompts:
            oldest, share = prompts[0], max(1, prompt_tokens // OLDEST_SHARE)
            prompts.sort(key=lambda sequence: sequence.share.served)
            reserved = min(share, oldest.pending)
            for sequence in prompts:
                if sequence is oldest:
                    reserved = 0
                prompt_tokens -= batch.add(sequence, prompt_tokens - reserved)
        return batch.slices

    def _prompts(self) -> list[Sequence]:
        """Sequences with more than a token to run. Of several that come to the same page (or, with slots, to the same
        snapshot), all but one wait for it.
        """
        prompts = [sequence for sequence in self.running if sequence.pending > 1]
        if len(prompts) < 2:
            return prompts
        first: dict[object, Sequence] = {}
        headings = [sequence.heading for sequence in prompts]
        for sequence, heading in zip(prompts, headings, strict=True):
            if heading is not None and (heading not in first or first[heading].computed < sequence.computed):
                first[heading] = sequence
        return [s for s, heading in zip(prompts, headings, strict=True) if heading is None or first[heading] is s]


class _Batch:
    """Slices within the limits of a step."""

    def __init__(self, tokens: int, rows: int) -> None:
        self.slices: list[Slice] = []
        self._tokens = tokens
        self._rows = rows

    def add(self, sequence: Sequence, count: int) -> int:
        """Adds up to ``count`` of the sequence's tokens; how many there was room for."""
        count = min(sequence.runnable, count, self._tokens)
        count -= max(0, _logits_rows(sequence, count) - self._rows) if count > 0 else 0
        if count <= 0:
            return 0
        self.slices.append(Slice(sequence, count))
        self._tokens -= count
        self._rows -= _logits_rows(sequence, count)
        return count


def _logits_rows(sequence: Sequence, count: int) -> int:
    return 0 if sequence.wants_hidden else len(sequence.output_rows(count))
