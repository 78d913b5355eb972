"""Sequences in the key-value cache: how they get pages, share them and leave them to later ones."""

from __future__ import annotations

from lutmac.engine.running.kv_cache import PAGE_TOKENS, PageManager, pages_for
from lutmac.engine.running.page_table import CopyPage
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.slot_residency import SlotResidency
from lutmac.engine.running.snapshots import SlotPool
from lutmac.engine.running.stats import Counters


class Residency:
    """Gives sequences pages and slots, and begins them with what the cache has of their prompts."""

    def __init__(self, pages: PageManager, slots: SlotPool | None, counters: Counters, copy_page: CopyPage) -> None:
        """pages, slots: of the cache. counters: told of prompts and of what was found of them. copy_page: of a pool."""
        self.pages = pages
        self.slots = slots
        self._with_slot = None if slots is None else SlotResidency(pages, slots, copy_page)
        self._copy_page = copy_page
        self._counters = counters

    def begin(self, sequence: Sequence, neighbours: int) -> bool:
        """Starts a sequence with what the cache has of it; False if there is no room for the rest yet.

        neighbours: running sequences. One page for each must stay available, or the new one would soon be preempted.
        """
        table = sequence.page_table
        if self.slots is not None and not self.slots.available:
            return False
        found = None
        if self._with_slot is None:
            table.adopt(self.pages, sequence.reusable)
        else:
            found = self._with_slot.find(sequence)
        if neighbours and not self._has_room(table.lacks(sequence.length), neighbours):
            table.release(self.pages, sequence.computed_keys)
            return False
        if self._with_slot is None:
            computed = table.adopt_beginning(self.pages, sequence.reusable, self._copy_page)
        else:
            computed = self._with_slot.begin(sequence, found)
        if not sequence.preempted:
            self._counters.prompt_tokens += sequence.prompt_length
        self._found(sequence, computed)
        return True

    def follow(self, sequence: Sequence) -> None:
        """Takes pages or a snapshot that other sequences have completed since this one began."""
        if self._with_slot is None:
            found = sequence.page_table.adopt(self.pages, sequence.reusable) if sequence.pending > PAGE_TOKENS else 0
        else:
            found = self._with_slot.follow(sequence)
        if found > sequence.computed:
            self._found(sequence, found)

    def commit(self, sequence: Sequence) -> None:
        """Puts its full pages into the tree, and gives back those behind its windows."""
        table = sequence.page_table
        if sequence.computed >= table.cached_tokens + PAGE_TOKENS:
            table.commit(self.pages, sequence.computed_keys)
        table.give_back(self.pages, sequence.computed)
        if self._with_slot is not None:
            self._with_slot.commit(sequence)

    def grow(self, sequence: Sequence, count: int) -> bool:
        """Gives it pages for the next ``count`` tokens; False if there are not enough."""
        return sequence.page_table.grow(self.pages, sequence.computed + count)

    def leave(self, sequence: Sequence) -> None:
        """Takes all pages from a sequence. It may begin again."""
        if self._with_slot is not None:
            self._with_slot.leave(sequence)
        sequence.page_table.release(self.pages, sequence.computed_keys)
        sequence.computed, sequence.underway = 0, False

    def _has_room(self, pages: int, neighbours: int) -> bool:
        """Whether each group has ``pages`` pages (a windowed one no more than it holds) and one per neighbour."""
        return all(
            min(pages, pages_for(pool.window) + 1 if pool.window else pages) + neighbours <= pool.available
            for pool in self.pages.pools
        )

    def _found(self, sequence: Sequence, computed: int) -> None:
        if not sequence.preempted:  # else it would find its own pages
            sequence.reused += computed - sequence.computed
            self._counters.prefix_hit_tokens += computed - sequence.computed
        sequence.computed = computed
