"""Slots of sequences: where a sequence begins, and which snapshots are taken of it."""

from __future__ import annotations

from lutmac.engine.running.kv_cache import PageManager
from lutmac.engine.running.page_table import CopyPage, Resumption
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.snapshots import Places, SlotPool

WORTH_A_STEP = 4  # tokens that a snapshot must save to end a step for it
WORTH_A_BRANCH = 16  # tokens; more, since prompts may not depart there again
SAME_PLACE = 32  # tokens before a prompt's end: the same prompt can as well begin there


class SlotResidency:
    """Gives sequences their slots, begins them at snapshots, and takes snapshots of them."""

    def __init__(self, pages: PageManager, slots: SlotPool, copy_page: CopyPage) -> None:
        """pages, slots: of the cache. copy_page: of a pool."""
        self._pages = pages
        self._slots = slots
        self._copy_page = copy_page

    def find(self, sequence: Sequence) -> Resumption | None:
        """The snapshot at which a sequence can begin, if any; gives it the full pages up to there."""
        found = sequence.page_table.find_snapshot(self._pages, sequence.reusable, sequence.computed)
        if found is not None:
            sequence.page_table.resume(self._pages, found)
        return found

    def begin(self, sequence: Sequence, found: Resumption | None) -> int:
        """After ``find``: gives the sequence a slot, which must be available. Returns how many tokens it then has."""
        table, tokens = sequence.page_table, 0
        parting = table.parting(self._pages, sequence.reusable)
        if found is not None:
            table.resume_beginning(self._pages, found, self._copy_page)
            tokens = found.tokens
        sequence.slot = self._slots.take(None if found is None else found.snapshot)
        if not table.private:
            sequence.places = _places(sequence, tokens, parting)
        return tokens

    def follow(self, sequence: Sequence) -> int:
        """Goes on from a snapshot that another sequence has left meanwhile. Returns how many tokens it then has."""
        found = self.find(sequence)
        if found is None:
            return 0
        sequence.page_table.resume_beginning(self._pages, found, self._copy_page)
        assert sequence.slot is not None
        self._slots.renew(sequence.slot, found.snapshot)
        return found.tokens

    def commit(self, sequence: Sequence) -> None:
        """After the commit of its pages: takes a snapshot if the sequence is at one of its places."""
        if sequence.places is None or sequence.computed not in sequence.places:
            return
        assert sequence.slot is not None
        table, in_passing = sequence.page_table, sequence.computed not in sequence.places.own
        node, tokens = table.stand(self._pages, sequence.computed_keys)
        snapshot = self._slots.snapshot(sequence.slot, node, tokens, in_passing=in_passing)
        if snapshot is not None:
            table.lend(snapshot)

    def leave(self, sequence: Sequence) -> None:
        """Before its pages are given back: makes a snapshot of its slot, if another sequence may go on from there."""
        slot, sequence.slot, sequence.places = sequence.slot, None, None
        if slot is None:
            return
        # A step that failed may have left anything in the slot. A sequence that draws nothing has no next turn.
        if sequence.page_table.private or sequence.underway or sequence.sampler is None or not sequence.computed:
            self._slots.give(slot)
            return
        sequence.page_table.commit(self._pages, sequence.computed_keys)
        self._slots.hand_over(slot, *sequence.page_table.stand(self._pages, sequence.computed_keys))


def _places(sequence: Sequence, begun: int, parting: int | None) -> Places:
    """Where snapshots of a sequence that begins at ``begun`` are taken, besides every 16th page border.

    At the end of its prompt: at the end of the part that a later prompt is likely to share, or else one token before
    the end, where the same prompt could begin again. And where it departs from other sequences, since more may share
    what comes before.
    """
    if sequence.sampler is None:
        return Places.of(begun, [parting], WORTH_A_BRANCH)
    shared, end = sequence.shared_prefix, sequence.prompt_length - 1
    if shared is not None and shared < end:
        end = shared if end - shared <= SAME_PLACE else end
    else:
        shared = None
    branch = parting if parting is not None and parting >= begun + WORTH_A_BRANCH else None
    return Places.of(begun, (shared, end, branch), WORTH_A_STEP)
