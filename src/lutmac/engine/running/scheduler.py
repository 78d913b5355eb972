"""What runs in the next step."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from lutmac.engine.running.batch import Slice
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.step_planner import Room, StepPlanner

OLDEST_TURN = 4  # every 4th sequence that begins is the one that has waited longest


_GROUPS: Final[tuple[Callable[[Sequence], object], ...]] = (
    lambda sequence: sequence.share.client,
    lambda sequence: sequence.share,
)


class Scheduler:
    """Decides which sequences run, and which of their tokens the next step computes.

    If a place is free, the next sequence is one of the client with the fewest running sequences, and among those one of
    the request with the fewest. Every fourth time it is the one that has waited longest. So many texts of one request
    do not block a single one of another, and every sequence begins some time. If a client has no running sequence
    because there is no place, a client that has several gives up its youngest one.

    ``StepPlanner`` makes the steps, of up to ``max_batch_tokens`` tokens and ``max_output_rows`` rows of logits (which
    would fill the memory if whole texts are scored).
    """

    def __init__(self, max_batch_tokens: int, max_sequences: int, max_output_rows: int) -> None:
        """max_sequences: how many run at a time; at most max_output_rows."""
        self.max_sequences = max_sequences
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # as they were admitted, the oldest first
        self._admitted = 0
        self._planner = StepPlanner(max_batch_tokens, max_output_rows, max_sequences)

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
        """Starts waiting sequences while a place is free and ``fits`` finds pages for the next one."""
        while self.waiting and len(self.running) < self.max_sequences and fits(next_one := self._next()):
            self.waiting.remove(next_one)
            self.running.append(next_one)
            self._admitted += 1

    def preempt(self) -> Sequence:
        """Sends the youngest running sequence back to wait, in front of all others."""
        sequence = self.running[-1]
        self.send_back(sequence)
        return sequence

    def send_back(self, sequence: Sequence) -> None:
        """Sends a running sequence back to wait, in front of all others."""
        self.running.remove(sequence)
        self.waiting.appendleft(sequence)

    def make_room(self) -> Sequence | None:
        """Sends a running sequence back to wait, behind all others, if a client has none and another has several.

        If every client has one running, the same is done between requests. Returns the sequence, or None.
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
        """The waiting sequence that begins next."""
        oldest = self.waiting[0]
        if oldest.preempted or self._admitted % OLDEST_TURN == OLDEST_TURN - 1:
            return oldest
        clients, requests = (Counter(map(group, self.running)) for group in _GROUPS)
        return min(self.waiting, key=lambda one: (clients[one.share.client], requests[one.share]))

    @property
    def decoding(self) -> bool:
        """Whether a sequence waits for the next token of its reply."""
        return any(sequence.pending == 1 and sequence.generates for sequence in self.running)

    def next_batch(self, room: Room | None) -> list[Slice]:
        """The slices of the next step; empty if nothing runs. room: a limit for steps that should be short."""
        return self._planner.next(self.running, room)
