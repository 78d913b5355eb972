"""What runs in the next step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lutmac.engine.sequence import Sequence


@dataclass(frozen=True)
class Slice:
    """The next ``count`` tokens of a sequence."""

    sequence: Sequence
    count: int


class Scheduler:
    """Takes sequences in while there is room, and cuts steps from those that run.

    A step holds first the sequences that wait for one token, then pieces of the others, up to ``max_batch_tokens``
    tokens and ``max_output_rows`` rows of logits (they would fill the memory where whole texts are scored).
    """

    def __init__(self, max_batch_tokens: int, max_sequences: int, max_output_rows: int) -> None:
        """max_sequences: how many run at a time; max_output_rows is at least that."""
        self.max_batch_tokens = max_batch_tokens
        self.max_sequences = max_sequences
        self.max_output_rows = max_output_rows
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence, first come, first served."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forgets a sequence, if it is still known."""
        if sequence in self.running:
            self.running.remove(sequence)
        if sequence in self.waiting:
            self.waiting.remove(sequence)

    def admit(self, fits: Callable[[Sequence], bool]) -> None:
        """Starts waiting sequences, in order, while there is a place and ``fits`` finds pages for the next one."""
        while self.waiting and len(self.running) < self.max_sequences and fits(self.waiting[0]):
            self.running.append(self.waiting.popleft())

    def next_batch(self) -> list[Slice]:
        """The slices of the next step; none where nothing is running."""
        tokens, rows = self.max_batch_tokens, self.max_output_rows
        batch: list[Slice] = []
        for sequence in sorted(self.running, key=lambda sequence: sequence.pending > 1):
            count = min(sequence.pending, tokens)
            over = len(sequence.output_rows(count)) - rows
            if over > 0:
                count -= over
            if count > 0:
                batch.append(Slice(sequence, count))
                tokens -= count
                rows -= len(sequence.output_rows(count))
        return batch
