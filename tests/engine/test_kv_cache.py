"""Pages have one owner at a time unless they hold the same tokens, and come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lutmac.engine.block_table import BlockTable
from lutmac.engine.kv_cache import PAGE_TOKENS, PageManager, pages_for
from lutmac.engine.memory import cache_pages
from lutmac.errors import InvalidRequestError

PAGES = 12
MAX_TOKENS = 6 * PAGE_TOKENS


class Caching(RuleBasedStateMachine):
    """Sequences over few different tokens begin, grow and end at random; a page is a dictionary of what was written.

    A page must hold, whenever a sequence reads it, what that sequence has computed: that is what makes a hit correct.
    """

    def __init__(self) -> None:
        super().__init__()
        self.manager = PageManager(PAGES)
        self.memory = [np.zeros(PAGE_TOKENS, dtype=np.int64) for _ in range(PAGES)]
        self.sequences: list[tuple[BlockTable, np.ndarray, int]] = []

    def copy(self, source: int, target: int) -> None:
        self.memory[target][:] = self.memory[source]

    def write(self, table: BlockTable, tokens: np.ndarray, begin: int, end: int) -> None:
        for position in range(begin, end):
            # Keys and values depend on all tokens before: so does this.
            digest = hash(tokens[: position + 1].tobytes())
            self.memory[table.pages[position // PAGE_TOKENS]][position % PAGE_TOKENS] = digest

    @rule(kinds=st.lists(st.integers(0, 1), min_size=1, max_size=5), length=st.integers(1, MAX_TOKENS))
    def begin(self, kinds: list[int], length: int) -> None:
        tokens = np.resize(np.repeat(np.array(kinds, dtype=np.int32), 50), length)
        table = BlockTable(MAX_TOKENS)
        table.adopt(self.manager, tokens[:-1])
        computed = table.adopt_beginning(self.manager, tokens[:-1], self.copy)
        assert computed < max(1, length)
        self.sequences.append((table, tokens, computed))

    @rule(place=st.integers(0, 100), count=st.integers(1, 150))
    def run(self, place: int, count: int) -> None:
        if self.sequences:
            place %= len(self.sequences)
            table, tokens, computed = self.sequences[place]
            computed = max(computed, table.adopt(self.manager, tokens[:-1]))
            end = min(len(tokens), computed + count)
            if table.grow(self.manager, end):
                self.write(table, tokens, computed, end)
                table.commit(self.manager, tokens[:end])
                computed = end
            self.sequences[place] = table, tokens, computed

    @rule(place=st.integers(0, 100))
    def end(self, place: int) -> None:
        if self.sequences:
            table, tokens, computed = self.sequences.pop(place % len(self.sequences))
            table.release(self.manager, tokens[:computed])
            assert len(table.pages) == 0

    @invariant()
    def every_sequence_reads_what_it_computed(self) -> None:
        for table, tokens, computed in self.sequences:
            for position in range(computed):
                found = self.memory[table.pages[position // PAGE_TOKENS]][position % PAGE_TOKENS]
                assert found == hash(tokens[: position + 1].tobytes())

    @invariant()
    def no_page_is_lost(self) -> None:
        held = {int(page) for table, _, _ in self.sequences for page in table.pages}
        assert len(held) + self.manager.available == PAGES


TestCaching = Caching.TestCase
TestCaching.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def filled(manager: PageManager, tokens: np.ndarray) -> BlockTable:
    table = BlockTable(len(tokens))
    table.adopt(manager, tokens)
    assert table.grow(manager, len(tokens))
    table.commit(manager, tokens)
    return table


def numbers(begin: int, pages: int) -> np.ndarray:
    return np.arange(begin, begin + pages * PAGE_TOKENS, dtype=np.int32)


def test_the_least_recently_used_page_goes_first_and_the_last_of_its_sequence_before_the_first() -> None:
    manager = PageManager(4)
    for begin in (0, 1000):
        filled(manager, numbers(begin, 2)).release(manager, numbers(begin, 2))
    assert BlockTable(1000).adopt(manager, numbers(0, 2)) == 2 * PAGE_TOKENS  # used again, and held
    table = BlockTable(1000)
    assert table.grow(manager, PAGE_TOKENS)
    assert BlockTable(1000).adopt(manager, numbers(1000, 2)) == PAGE_TOKENS
    assert not table.grow(manager, 2 * PAGE_TOKENS)


def test_a_private_sequence_neither_takes_nor_leaves() -> None:
    manager = PageManager(4)
    filled(manager, numbers(0, 2)).release(manager, numbers(0, 2))
    table = BlockTable(1000, private=True)
    assert table.adopt(manager, numbers(0, 2)) == 0
    assert table.grow(manager, PAGE_TOKENS)
    table.release(manager, numbers(5000, 1))
    assert BlockTable(1000).adopt(manager, numbers(5000, 1)) == 0
    assert manager.available == 4


def test_pages_for_positions() -> None:
    assert [pages_for(n) for n in (0, 1, PAGE_TOKENS, PAGE_TOKENS + 1)] == [0, 1, 1, 2]


def test_the_budget_is_kept() -> None:
    assert cache_pages(1000, 128, 5999) == 5
    assert cache_pages(1 << 50, 128, None) == 2  # no memory for more than one sequence: the system has the last word
    with pytest.raises(InvalidRequestError, match=r"1999 bytes.*128 positions.*2000"):
        cache_pages(1000, 128, 1999)
