"""Pages have one owner at a time, and come back."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lutmac.engine.kv_cache import PAGE_TOKENS, PageManager, pages_for
from lutmac.errors import ContextOverflowError

PAGES = 12


class Pages(RuleBasedStateMachine):
    """Allocates and frees at random, in two cache groups."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = PageManager([PAGES, PAGES])
        self.owned: list[list[list[int]]] = []

    @rule(count=st.integers(0, PAGES + 1))
    def allocate(self, count: int) -> None:
        if count > self.manager.available:
            with pytest.raises(ContextOverflowError):
                self.manager.allocate(count)
        else:
            self.owned.append(self.manager.allocate(count))

    @rule(place=st.integers(0, 100))
    def free(self, place: int) -> None:
        if self.owned:
            pages = self.owned.pop(place % len(self.owned))
            self.manager.free(pages)
            assert pages == [[], []]

    @invariant()
    def every_page_has_one_owner(self) -> None:
        for group in range(2):
            owned = [page for pages in self.owned for page in pages[group]]
            assert len(owned) == len(set(owned)) == PAGES - self.manager.available
            assert set(owned) <= set(range(PAGES))


TestPages = Pages.TestCase


def test_a_freed_page_is_the_next_one_out() -> None:
    manager = PageManager([PAGES])
    first = manager.allocate(3)
    expected = [list(first[0])]
    manager.free(first)
    assert manager.allocate(3) == expected


def test_pages_for_positions() -> None:
    assert [pages_for(n) for n in (0, 1, PAGE_TOKENS, PAGE_TOKENS + 1)] == [0, 1, 1, 2]
