"""Pages have one owner at a time unless they hold the same tokens, and come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lutmac.engine.running.kv_cache import PAGE_TOKENS, PageManager, pages_for
from lutmac.engine.running.memory import GroupNeed, divide_memory, group_need
from lutmac.engine.running.page_table import PageTable
from lutmac.engine.running.prefix_tree import NO_PAGE
from lutmac.errors import InvalidRequestError
from lutmac.graph.compile import Limits

PAGES = (12, 9, 7)
WINDOWS = (0, 100, 1)
MAX_TOKENS = 6 * PAGE_TOKENS


class Caching(RuleBasedStateMachine):
    """Sequences over few different tokens begin, grow and end at random; a page is a dictionary of what was written.

    A page must hold, whenever a sequence reads it, what that sequence has computed: that is what makes a hit correct.
    Groups with a window are read as far as it reaches, and have fewer pages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.manager = PageManager(PAGES, WINDOWS)
        self.memory = [[np.zeros(PAGE_TOKENS, dtype=np.int64) for _ in range(count)] for count in PAGES]
        self.sequences: list[tuple[PageTable, np.ndarray, int]] = []

    def copy(self, group: int, source: int, target: int) -> None:
        self.memory[group][target][:] = self.memory[group][source]

    def place(self, table: PageTable, group: int, position: int) -> tuple[np.ndarray, int]:
        return self.memory[group][table.pages(group)[position // PAGE_TOKENS]], position % PAGE_TOKENS

    def check(self, table: PageTable, tokens: np.ndarray, computed: int) -> None:
        """What the token at position ``computed`` reads."""
        for group, window in enumerate(WINDOWS):
            for position in range(max(0, computed - window + 1) if window else 0, computed):
                page, slot = self.place(table, group, position)
                assert page[slot] == hash(tokens[: position + 1].tobytes())

    def write(self, table: PageTable, tokens: np.ndarray, begin: int, end: int) -> None:
        for position in range(begin, end):
            for group in range(len(PAGES)):
                # Keys and values depend on all tokens before: so does this.
                page, slot = self.place(table, group, position)
                page[slot] = hash(tokens[: position + 1].tobytes())

    @rule(
        kinds=st.lists(st.integers(0, 1), min_size=1, max_size=5),
        length=st.integers(1, MAX_TOKENS),
        private=st.sampled_from([False, False, False, True]),
    )
    def begin(self, kinds: list[int], length: int, private: bool) -> None:
        tokens = np.resize(np.repeat(np.array(kinds, dtype=np.int32), 50), length)
        table = PageTable(MAX_TOKENS, WINDOWS, private=private)
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
                table.give_back(self.manager, end)
                computed = end
            self.sequences[place] = table, tokens, computed

    @rule(place=st.integers(0, 100))
    def end(self, place: int) -> None:
        if self.sequences:
            table, tokens, computed = self.sequences.pop(place % len(self.sequences))
            table.release(self.manager, tokens[:computed])
            assert len(table.pages()) == 0

    @invariant()
    def every_sequence_reads_what_it_computed(self) -> None:
        for table, tokens, computed in self.sequences:
            self.check(table, tokens, computed)

    @invariant()
    def no_page_is_lost(self) -> None:
        for pool in self.manager.pools:
            held = set()
            for table, _, _ in self.sequences:
                held |= {int(page) for page in table.pages(pool.group)[table.first(pool.group) :]}
            assert len(held) + pool.available == pool.num_pages

    @invariant()
    def the_tree_ends_in_pages(self) -> None:
        """What leads nowhere is forgotten."""
        nodes = [self.manager.tree.root]
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            useful = node.children or node.users or any(page != NO_PAGE for page in node.pages)
            assert node is self.manager.tree.root or useful


TestCaching = Caching.TestCase
TestCaching.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def filled(manager: PageManager, tokens: np.ndarray, windows: tuple[int, ...] = (0,)) -> PageTable:
    table = PageTable(len(tokens), windows)
    table.adopt(manager, tokens)
    assert table.grow(manager, len(tokens))
    table.commit(manager, tokens)
    return table


def numbers(begin: int, pages: int) -> np.ndarray:
    return np.arange(begin, begin + pages * PAGE_TOKENS, dtype=np.int32)


def test_the_least_recently_used_page_goes_first_and_the_last_of_its_sequence_before_the_first() -> None:
    manager = PageManager([4])
    for begin in (0, 1000):
        filled(manager, numbers(begin, 2)).release(manager, numbers(begin, 2))
    assert PageTable(1000).adopt(manager, numbers(0, 2)) == 2 * PAGE_TOKENS  # used again, and held
    table = PageTable(1000)
    assert table.grow(manager, PAGE_TOKENS)
    assert PageTable(1000).adopt(manager, numbers(1000, 2)) == PAGE_TOKENS
    assert not table.grow(manager, 2 * PAGE_TOKENS)


def test_a_private_sequence_neither_takes_nor_leaves() -> None:
    manager = PageManager([4])
    filled(manager, numbers(0, 2)).release(manager, numbers(0, 2))
    table = PageTable(1000, private=True)
    assert table.adopt(manager, numbers(0, 2)) == 0
    assert table.grow(manager, PAGE_TOKENS)
    table.release(manager, numbers(5000, 1))
    assert PageTable(1000).adopt(manager, numbers(5000, 1)) == 0
    assert manager.tightest.available == 4


def test_pages_for_positions() -> None:
    assert [pages_for(n) for n in (0, 1, PAGE_TOKENS, PAGE_TOKENS + 1)] == [0, 1, 1, 2]


def test_pages_behind_a_window_go_first() -> None:
    manager = PageManager([4, 4], [0, PAGE_TOKENS])
    table = filled(manager, numbers(0, 3), (0, PAGE_TOKENS))
    table.give_back(manager, 3 * PAGE_TOKENS)
    assert [pool.available for pool in manager.pools] == [1, 3]
    filled(manager, numbers(1000, 1), (0, PAGE_TOKENS)).release(manager, numbers(1000, 1))
    table.release(manager, numbers(0, 3))
    assert [pool.allocate() is not None for pool in manager.pools] == [True, True]
    again = PageTable(1000, (0, PAGE_TOKENS))
    assert again.adopt(manager, numbers(0, 3)) == 3 * PAGE_TOKENS  # the last window is whole, and all keys of the other


def test_a_prefix_resumes_where_every_group_has_what_it_needs() -> None:
    manager = PageManager([8, 3], [0, PAGE_TOKENS])
    table = filled(manager, numbers(0, 3), (0, PAGE_TOKENS))
    table.release(manager, numbers(0, 3))
    other = PageTable(1000, (0, PAGE_TOKENS))
    assert other.grow(manager, PAGE_TOKENS)  # takes the last page of the second group
    assert PageTable(1000, (0, PAGE_TOKENS)).adopt(manager, numbers(0, 3)) == 2 * PAGE_TOKENS


def test_the_budget_is_kept() -> None:
    one = GroupNeed(1000, 2)
    assert divide_memory([one], 5999) == [5]
    assert divide_memory([GroupNeed(1 << 50, 2)], None) == [2]  # more than there is: the system has the last word
    with pytest.raises(InvalidRequestError, match=r"1999 bytes.* 2000"):
        divide_memory([one], 1999)


def test_a_windowed_group_gets_what_it_can_use() -> None:
    """Gemma 3 270M with 32,768 positions: 3 layers that see all of them, 15 that see 512."""
    limits, page = Limits(512, 16, 32768), 64 * 2 * 256 * 2
    full, windowed = group_need(3 * page, 0, limits), group_need(15 * page, 512, limits)
    assert (full.one, windowed.one) == (512, 18)
    assert full.one * full.page_bytes + windowed.one * windowed.page_bytes < 130e6
    pages = divide_memory([full, windowed], 1 << 32)
    assert pages[1] == windowed.most == 2 * 16 * 9 + 9
    assert pages[0] == ((1 << 32) - pages[1] * windowed.page_bytes) // full.page_bytes
    assert divide_memory([windowed], 1 << 30) == [(1 << 30) // windowed.page_bytes]
