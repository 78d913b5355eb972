"""The slices of one step."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.engine.running.sequence import Sequence


@dataclass(frozen=True)
class Slice:
    """The next ``count`` tokens of a sequence."""

    sequence: Sequence
    count: int


class Batch:
    """Slices within the limits of a step."""

    def __init__(self, tokens: int, rows: int) -> None:
        """tokens: of all slices. rows: of logits."""
        self.slices: list[Slice] = []
        self._tokens = tokens
        self._rows = rows

    def add(self, sequence: Sequence, count: int) -> int:
        """Adds up to ``count`` of the sequence's tokens; how many there was room for.

        A sequence that runs whole is added whole or not at all. If it is longer than a step should be, it has a step of
        its own.
        """
        count = min(sequence.runnable, count, self._tokens)
        if sequence.whole and count < sequence.pending:
            if self.slices:
                return 0
            count = sequence.pending
        count -= max(0, _logits_rows(sequence, count) - self._rows) if count > 0 else 0
        if count <= 0:
            return 0
        self.slices.append(Slice(sequence, count))
        self._tokens -= count
        self._rows -= _logits_rows(sequence, count)
        return count


def _logits_rows(sequence: Sequence, count: int) -> int:
    return 0 if sequence.wants_hidden else len(sequence.output_rows(count))
