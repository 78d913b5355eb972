"""Chooses the slices of the next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as List
from dataclasses import dataclass
from typing import Final

from lutmac.engine.running.batch import Batch, Slice
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.served_tokens import ServedTokens

SHORT_PROMPT: Final = 16  # tokens: always few enough for a newcomer's step
OLDEST_SHARE: Final = 4  # the oldest prompt gets at least one in so many of the tokens that a step has for prompts
MOST_ALONE: Final = 2  # steps in a row for newcomers only
COMPANY_STEPS: Final = 256  # after a reply, or a step for two clients: whoever was there may soon ask again


@dataclass(frozen=True)
class Room:
    """How many tokens a step may have if it should be short.

    prompts: tokens of prompts. little: tokens of a step that takes hardly longer than one of a single token. price: how
    many tokens of prompts take as long as a generated one that is computed again.
    """

    prompts: int
    little: int
    price: float = 1.0

    @property
    def replies(self) -> int:
        """Replies of one client. Each costs more than a token of a prompt: its row of logits is computed, too."""
        return max(self.little, self.prompts // 2)


class StepPlanner:
    """Makes steps of up to ``max_tokens`` tokens, ``max_rows`` rows of logits and ``max_slices`` slices.

    A step first takes the sequences that wait for the next token of a reply, then pieces of prompts. The prompt whose
    client, and then whose request, has had the fewest tokens goes first, so a short prompt does not wait for the end of
    a long one. The oldest prompt has a share of its own, so a long one ends too.

    A newcomer is a sequence whose whole prompt, or what the cache does not have of it, fits into one step. It waits for
    the step that is running and then gets a short step of its own. Other sequences join that step only as far as it
    stays small. The next step may be for another client's newcomers. The step after that is for all.

    Texts to be embedded or scored get a smaller part of a step while replies are written, and for some steps after.
    If a client has many replies and others were there lately, its replies take turns.
    """

    def __init__(self, max_tokens: int, max_rows: int, max_slices: int) -> None:
        """Nothing has run yet."""
        self.max_tokens = max_tokens
        self.max_rows = max_rows
        self.max_slices = max_slices
        self._further = 0  # slices that a step may have beside one for each sequence
        self._served = ServedTokens()
        self._alone: list[set[str]] = []  # clients whose newcomers had the last steps to themselves
        self._since_reply = self._since_others = COMPANY_STEPS
        self._first = 0  # place of the next reply of those that take turns

    def next(self, running: List[Sequence], room: Room | None) -> list[Slice]:
        """The slices of the next step; empty if nothing runs.

        running: the oldest first. room: None if steps need not be short.
        """
        self._further = self.max_slices - len(running)
        clients = {sequence.share.client for sequence in running}
        self._served.enter(clients)
        self._since_others = 0 if len(clients) > 1 else self._since_others + 1
        replying = any(sequence.generates for sequence in running)
        self._since_reply = 0 if replying else self._since_reply + 1
        writing = [sequence for sequence in running if sequence.pending == 1 and sequence.generates]
        prompts = _prompts(running)
        slices = (
            self._of_newcomers(writing, prompts, room) if room is not None and len(self._alone) < MOST_ALONE else []
        )
        if slices:
            self._alone.append({slice.sequence.share.client for slice in slices if slice.sequence.begins})
        else:
            self._alone.clear()
            slices = self._of_all(writing, prompts, room)
        for slice in slices:
            self._served.serve(slice.sequence.share.client, slice.count)
        return sorted(slices, key=lambda slice: slice.role)  # as a step wants them: generated tokens first

    def _of_newcomers(self, writing: List[Sequence], prompts: List[Sequence], room: Room) -> list[Slice]:
        """A step for newcomers; empty if there are none, or if a step for all delays them as little."""
        others = [sequence for sequence in writing if not sequence.begins]
        short = [
            sequence for sequence in prompts if sequence.begins and sequence.pending <= max(room.prompts, SHORT_PROMPT)
        ]
        beginning = [*(one for one in writing if one.begins), *short]
        had = set().union(*self._alone)
        newcomers = sorted((one for one in beginning if one.share.client not in had), key=self._priority)
        fits = sum(sequence.pending for sequence in short) <= room.prompts
        if not newcomers or (fits and len(short) == len(prompts) and len(beginning) + len(others) <= room.little):
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
        for sequence in self._replies(writing, room):
            batch.add(sequence, 1)
        if not prompts:
            return batch.slices
        left, texts = self._prompt_tokens(room, len(batch.slices))
        oldest = prompts[0]
        reserved = min(max(1, min(left, left if oldest.generates else texts) // OLDEST_SHARE), oldest.pending)
        for sequence in sorted(prompts, key=self._priority):
            if sequence is oldest:
                reserved = 0
            most = left - reserved if sequence.generates else min(left - reserved, texts)
            count = batch.add(sequence, most, 1.0 if room is None else room.price)
            left -= count
            texts -= 0 if sequence.generates else count
        return batch.slices

    def _replies(self, writing: List[Sequence], room: Room | None) -> List[Sequence]:
        """The replies that get a token: all, except that those of one client may take turns."""
        if room is None or len(writing) <= room.replies or self._since_others > COMPANY_STEPS:
            return writing
        client, count = Counter(sequence.share.client for sequence in writing).most_common(1)[0]
        if count <= room.replies:
            return writing
        its = [sequence for sequence in writing if sequence.share.client == client]
        first = self._first % count
        self._first = first + room.replies
        chosen = {*(its + its)[first : first + room.replies]}
        return [sequence for sequence in writing if sequence.share.client != client or sequence in chosen]

    def _prompt_tokens(self, room: Room | None, writing: int) -> tuple[int, int]:
        """Tokens of prompts in a step beside ``writing`` replies, and how many of them may be of texts."""
        if room is None:
            return self.max_tokens, self.max_tokens
        left = max(room.little, min(room.prompts, room.prompts + room.little - writing))
        return left, room.little if self._since_reply <= COMPANY_STEPS else left

    def _priority(self, sequence: Sequence) -> tuple[int, int]:
        return self._served.of(sequence.share.client), sequence.share.served

    def _batch(self) -> Batch:
        return Batch(self.max_tokens, self.max_rows, self._further)


def _prompts(running: List[Sequence]) -> list[Sequence]:
    """Sequences with prompts to compute.

    If several would compute the same page (or reach the same snapshot), only the one that is furthest does; the others
    wait.
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
