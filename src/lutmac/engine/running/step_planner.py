"""What the next step holds."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass
from typing import Final

from lutmac.engine.running.batch import Batch, Slice
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.served_tokens import ServedTokens

OLDEST_SHARE: Final = 4  # the oldest prompt gets at least one in so many of the tokens that a step has for prompts
COMPANY_STEPS: Final = 256  # after a reply: whoever asked for one may soon ask again


@dataclass(frozen=True)
class Room:
    """How many tokens a step has room for where somebody may be waiting.

    prompts: of prompts. little: of a step that is hardly longer than one of a single token.
    """

    prompts: int
    little: int


class StepPlanner:
    """Cuts steps from the sequences that run, up to ``max_tokens`` tokens and ``max_rows`` rows of logits.

    A step holds first the sequences that wait for one token of a reply, then pieces of prompts. Of these the one whose
    client, and then whose request, has been served least goes first, so that a short one does not wait for a long one
    to end; the oldest is sure of its share, so that the long one ends too.

    A newcomer is a prompt that fits into a step as a whole, or what the cache has left of one. For its first token it
    waits for the step that is running, and then for its own, which is as short as can be: others go along in it, be it
    with a prompt or a reply that is being written, while the step stays a small one. The step after that takes all
    again, whoever has come.

    Texts to be embedded or scored have a smaller part of a step while replies are being written.
    """

    def __init__(self, max_tokens: int, max_rows: int) -> None:
        """Nothing has run yet."""
        self.max_tokens = max_tokens
        self.max_rows = max_rows
        self._served = ServedTokens()
        self._passed_over = False  # whether the last step was the newcomers' alone
        self._since_reply = COMPANY_STEPS

    def next(self, running: List[Sequence], room: Room | None) -> list[Slice]:
        """The slices of the next step; none where nothing is running.

        running: the oldest first. room: None where nobody has to be considered.
        """
        self._served.enter({sequence.share.client for sequence in running})
        replying = any(sequence.generates for sequence in running)
        self._since_reply = 0 if replying else self._since_reply + 1
        writing = [sequence for sequence in running if sequence.pending == 1 and sequence.generates]
        prompts = _prompts(running)
        slices = self._of_newcomers(writing, prompts, room) if room is not None and not self._passed_over else []
        self._passed_over = bool(slices)
        slices = slices or self._of_all(writing, prompts, room)
        for slice in slices:
            self._served.serve(slice.sequence.share.client, slice.count)
        return slices

    def _of_newcomers(self, writing: List[Sequence], prompts: List[Sequence], room: Room) -> list[Slice]:
        """A step for those that have come; none where there are no such, or nobody would have to wait for them."""
        others = [sequence for sequence in writing if not sequence.begins]
        short = [sequence for sequence in prompts if sequence.begins and sequence.pending <= room.prompts]
        newcomers = sorted((*(one for one in writing if one.begins), *short), key=self._priority)
        if not newcomers or (len(short) == len(prompts) and len(newcomers) + len(others) <= room.little):
            return []
        batch = self._batch()
        left = max(newcomers[0].pending, room.little)
        for sequence in newcomers:
            if sequence.pending <= left:
                left -= batch.add(sequence, left)
        for sequence in sorted(others, key=self._priority)[:left]:
            batch.add(sequence, 1)
        return batch.slices

    def _of_all(self, writing: List[Sequence], prompts: List[Sequence], room: Room | None) -> list[Slice]:
        batch = self._batch()
        for sequence in writing:
            batch.add(sequence, 1)
        if not prompts:
            return batch.slices
        left, texts = self._prompt_tokens(room, len(writing))
        oldest = prompts[0]
        reserved = min(max(1, min(left, left if oldest.generates else texts) // OLDEST_SHARE), oldest.pending)
        for sequence in sorted(prompts, key=self._priority):
            if sequence is oldest:
                reserved = 0
            count = batch.add(sequence, left - reserved if sequence.generates else min(left - reserved, texts))
            left -= count
            texts -= 0 if sequence.generates else count
        return batch.slices

    def _prompt_tokens(self, room: Room | None, writing: int) -> tuple[int, int]:
        """Tokens of prompts for a step beside so many replies; and how many of them may be of texts."""
        if room is None:
            return self.max_tokens, self.max_tokens
        left = max(room.little, min(room.prompts, room.prompts + room.little - writing))
        return left, room.little if self._since_reply <= COMPANY_STEPS else left

    def _priority(self, sequence: Sequence) -> tuple[int, int]:
        return self._served.of(sequence.share.client), sequence.share.served

    def _batch(self) -> Batch:
        return Batch(self.max_tokens, self.max_rows)


def _prompts(running: List[Sequence]) -> list[Sequence]:
    """Sequences with prompts to run. Of several that come to the same page (or, with slots, to the same snapshot), all
    but one wait for it.
    """
    prompts = [
        sequence for sequence in running if sequence.pending > 1 or (sequence.pending and not sequence.generates)
    ]
    if len(prompts) < 2:
        return prompts
    first: dict[object, Sequence] = {}
    headings = [sequence.heading for sequence in prompts]
    for sequence, heading in zip(prompts, headings, strict=True):
        if heading is not None and (heading not in first or first[heading].computed < sequence.computed):
            first[heading] = sequence
    return [s for s, heading in zip(prompts, headings, strict=True) if heading is None or first[heading] is s]
