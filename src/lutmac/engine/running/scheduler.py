"""What runs in the next step."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from lutmac.engine.running.batch import Slice
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.step_planner import Room, StepPlanner

OLDEST_TURN = 4  # of so many sequences that begin, one is the one that has waited for longest


_GROUPS: Final[tuple[Callable[[Sequence], object], ...]] = (
    lambda sequence: sequence.share.client,
    lambda sequence: sequence.share,
)


class Scheduler:
    """Takes sequences in while there is room, and cuts steps from those that run.

    Of those that wait, one whose client, and of these whose request, has the fewest running begins first, and every
    fourth time the one that has waited for longest: so nobody's many texts keep another's only one waiting, and all
    come to their turn. Where a client has none running for want of room, one that has several gives up its youngest.

    ``StepPlanner`` cuts the steps, of up to ``max_batch_tokens`` tokens and ``max_output_rows`` rows of logits (they
    would fill the memory where whole texts are scored).
    """

    def __init__(self, max_batch_tokens: int, max_sequences: int, max_output_rows: int) -> None:
        """max_sequences: how many run at a time; max_output_rows is at least that."""
        self.max_sequences = max_sequences
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # as they were admitted, the oldest first
        self._admitted = 0
        self._planner = StepPlanner(max_batch_tokens, max_output_rows)

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
        """Whether a reply waits for its next token."""
        return any(sequence.pending == 1 and sequence.generates for sequence in self.running)

    def next_batch(self, room: Room | None) -> list[Slice]:
        """The slices of the next step; none where nothing is running. room: of a step for which somebody may wait."""
        return self._planner.next(self.running, room)
