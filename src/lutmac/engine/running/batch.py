"""The slices of one step."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lutmac.engine.running.sequence import GENERATED, Sequence


@dataclass(frozen=True)
class Slice:
    """``count`` tokens of a sequence from position ``first`` on, all of one role."""

    sequence: Sequence
    first: int
    count: int

    @property
    def end(self) -> int:
        """The position behind them."""
        return self.first + self.count

    @property
    def role(self) -> int:
        """PROMPT or GENERATED."""
        return self.sequence.role_at(self.first)

    @property
    def output_rows(self) -> range:
        """Those of its tokens whose logits or hidden states are wanted."""
        return self.sequence.output_rows(self.first, self.count)


class Batch:
    """Slices within the limits of a step."""

    def __init__(self, tokens: int, rows: int, further: int) -> None:
        """tokens: of all slices. rows: of logits. further: slices beside one for each sequence."""
        self.slices: list[Slice] = []
        self._tokens = tokens
        self._rows = rows
        self._further = further

    def add(self, sequence: Sequence, budget: int, price: float = 1.0) -> int:
        """Adds tokens of the sequence that cost up to ``budget``, as far as there is room; returns what they cost.

        A token of a prompt costs 1, a generated one ``price``. There is a slice for each change of role, but one alone
        where the sequence has a slot: tokens have to pass a slot in order. A sequence that runs whole is added whole or
        not at all. If it is longer than a step should be, it has a step of its own.
        """
        first, cost = sequence.computed, 0
        while cost < budget:
            each = price if sequence.role_at(first) == GENERATED else 1.0
            runnable = sequence.runnable(first)
            count = self._fitting(sequence, first, min(runnable, max(1, int((budget - cost) / each))))
            if count <= 0:
                break
            self._append(Slice(sequence, first, count))
            first, cost = first + count, cost + ceil(count * each)
            if count < runnable or first == sequence.length or sequence.slot is not None or self._further <= 0:
                break
            self._further -= 1
        return cost

    def _fitting(self, sequence: Sequence, first: int, count: int) -> int:
        count = min(count, self._tokens)
        if sequence.whole and count < sequence.pending:
            if self.slices:
                return 0
            count = sequence.pending
        return count - max(0, _logits_rows(sequence, first, count) - self._rows) if count > 0 else 0

    def _append(self, slice: Slice) -> None:
        self.slices.append(slice)
        self._tokens -= slice.count
        self._rows -= _logits_rows(slice.sequence, slice.first, slice.count)


def _logits_rows(sequence: Sequence, first: int, count: int) -> int:
    return 0 if sequence.wants_hidden else len(sequence.output_rows(first, count))
