"""The pages of one sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.running.kv_cache import PAGE_TOKENS, PageManager, first_page, pages_for
from lutmac.engine.running.prefix_tree import NO_PAGE, CachedPage

# A copied page costs about as much as computing a token or two, at any model's size.
COPY_FROM = 4


class BlockTable:
    """For positions 0 to 63, 64 to 127 and so on, the page of each cache group that has them.

    The first pages are full and stand in the prefix tree; the others are this sequence's own. Pages behind a group's
    window are given back as the sequence grows. private: none is ever put into the tree or found there.
    """

    def __init__(self, max_tokens: int, windows: Sequence[int] = (0,), *, private: bool = False) -> None:
        """max_tokens: positions that it may come to have. windows: of each cache group, 0 for all positions."""
        self.private = private
        self._windows = windows
        self._pages = np.zeros((len(windows), pages_for(max_tokens)), dtype=np.int32)
        self._count = 0
        self._first = [0] * len(windows)  # of each group the first page that it still has
        self._cached: list[CachedPage] = []

    def pages(self, group: int = 0) -> NDArray[np.int32]:
        """Numbers of the pages of a group: a view. Those that were given back are 0, and never read."""
        return self._pages[group, : self._count]

    def first(self, group: int) -> int:
        """Which of them is the first that was not given back."""
        return self._first[group]

    @property
    def cached_tokens(self) -> int:
        """Positions on pages of the tree."""
        return len(self._cached) * PAGE_TOKENS

    def lacks(self, tokens: int) -> int:
        """Pages that are missing for so many positions, of each group."""
        return max(0, pages_for(tokens) - self._count)

    def open_page(self, tokens: NDArray[np.int32]) -> tuple[CachedPage | None, bytes] | None:
        """What the first page that is not in the tree yet will be there; None where the tokens do not fill it."""
        begin = self.cached_tokens
        if self.private or begin + PAGE_TOKENS > len(tokens):
            return None
        return (self._cached[-1] if self._cached else None), tokens[begin : begin + PAGE_TOKENS].tobytes()

    def adopt(self, manager: PageManager, tokens: NDArray[np.int32]) -> int:
        """Appends full pages of the tree that hold the next tokens, where no page is begun; tokens it then has.

        As far as every group still has what the token behind them reads.
        """
        if self.private or self._count > len(self._cached):
            return self.cached_tokens
        found = self._find(manager, tokens)
        while found and not self._readable(manager, found):
            found.pop()
        if found:
            self._append(manager, found)
        return self.cached_tokens

    def adopt_beginning(
        self, manager: PageManager, tokens: NDArray[np.int32], copy_page: Callable[[int, int, int], None]
    ) -> int:
        """After ``adopt``: copies the page that begins with the most of the next tokens; tokens it then has.

        copy_page: copies, of a group, the contents of one page to another.
        """
        begin = self.cached_tokens
        if self.private or self._count > len(self._cached):
            return begin
        node, common = manager.tree.nearest(self._parent(manager), tokens[begin : begin + PAGE_TOKENS])
        if node is None or common < COPY_FROM:
            return begin
        for pool in manager.pools:
            pool.hold(node)
        if self.grow(manager, begin + common):
            for pool in manager.pools:
                copy_page(pool.group, node.pages[pool.group], int(self._pages[pool.group, self._count - 1]))
            begin += common
        for pool in manager.pools:
            pool.release(node)
        return begin

    def grow(self, manager: PageManager, tokens: int) -> bool:
        """Makes room for so many positions; False where pages run out (those it got, it keeps)."""
        for _ in range(self.lacks(tokens)):
            pages = manager.allocate()
            if pages is None:
                return False
            self._pages[:, self._count] = pages
            self._count += 1
        return True

    def commit(self, manager: PageManager, tokens: NDArray[np.int32]) -> None:
        """Puts pages that are full by now into the tree. tokens: those whose keys and values are computed.

        Where another sequence was first with the same page, that one is shared: their contents are equal bit for bit.
        """
        while not self.private and self.cached_tokens + PAGE_TOKENS <= len(tokens):
            begin, index = self.cached_tokens, len(self._cached)
            node = manager.tree.add(self._parent(manager), tokens[begin : begin + PAGE_TOKENS].tobytes())
            node.users += 1
            for pool in manager.pools:
                self._hand_over(manager, node, pool.group, index)
                self._pages[pool.group, index] = pool.hold(node)
            self._cached.append(node)

    def give_back(self, manager: PageManager, computed: int) -> None:
        """Gives pages back that no token from position ``computed`` on reads: those behind a window."""
        for pool in manager.pools:
            needed = min(first_page(pool.window, computed), self._count)
            for index in range(self._first[pool.group], needed):
                self._let_go(manager, pool.group, index, spent=True)
                self._pages[pool.group, index] = 0
            self._first[pool.group] = max(self._first[pool.group], needed)

    def release(self, manager: PageManager, tokens: NDArray[np.int32]) -> None:
        """Gives all pages back, the tree those that hold something. tokens: as in ``commit``."""
        self.commit(manager, tokens)
        kept = len(self._cached)
        if self._count > kept and len(tokens) > self.cached_tokens and not self.private:
            node = manager.tree.add(self._parent(manager), tokens[self.cached_tokens :].tobytes())
            node.users += 1
            self._cached.append(node)  # unfinished, and let go of with the others
            for pool in manager.pools:
                self._hand_over(manager, node, pool.group, kept)
                pool.hold(node)
        for index in range(self._count - 1, -1, -1):  # so that a page is evicted after what follows it
            for pool in manager.pools:
                if index >= self._first[pool.group]:
                    self._let_go(manager, pool.group, index)
        for node in reversed(self._cached):
            node.users -= 1
            manager.tree.prune(node)
        self._cached.clear()
        self._count = 0
        self._first = [0] * len(self._windows)

    def _find(self, manager: PageManager, tokens: NDArray[np.int32]) -> list[CachedPage]:
        """What stands in the tree for the next tokens, page by page."""
        found, node, begin = [], self._parent(manager), self.cached_tokens
        while begin + PAGE_TOKENS <= len(tokens):
            child = node.children.get(tokens[begin : begin + PAGE_TOKENS].tobytes())
            if child is None:
                break
            found.append(child)
            node, begin = child, begin + PAGE_TOKENS
        return found

    def _readable(self, manager: PageManager, found: list[CachedPage]) -> bool:
        """Whether every group has the pages that a token behind those found reads."""
        own = len(self._cached)
        position = (own + len(found)) * PAGE_TOKENS
        return all(
            node.pages[pool.group] != NO_PAGE
            for pool in manager.pools
            for node in found[max(0, first_page(pool.window, position) - own) :]
        )

    def _append(self, manager: PageManager, found: list[CachedPage]) -> None:
        own = len(self._cached)
        position = (own + len(found)) * PAGE_TOKENS
        for pool in manager.pools:
            needed = first_page(pool.window, position)
            for index, node in enumerate(found, own):
                self._pages[pool.group, index] = pool.hold(node) if index >= needed else 0
            if needed > own:  # what lies before was never held
                for index in range(self._first[pool.group], own):
                    self._let_go(manager, pool.group, index, spent=True)
                self._first[pool.group] = needed
        for node in found:
            node.users += 1
        self._cached += found
        self._count = len(self._cached)

    def _hand_over(self, manager: PageManager, node: CachedPage, group: int, index: int) -> None:
        """Gives a page of its own to a node of the tree that lacks it, else back."""
        own = int(self._pages[group, index])
        if node.pages[group] == NO_PAGE:
            node.pages[group] = own
        else:
            manager.pools[group].free(own)

    def _let_go(self, manager: PageManager, group: int, index: int, *, spent: bool = False) -> None:
        pool = manager.pools[group]
        if index < len(self._cached):
            pool.release(self._cached[index], spent=spent)
        else:
            pool.free(int(self._pages[group, index]))

    def _parent(self, manager: PageManager) -> CachedPage:
        return self._cached[-1] if self._cached else manager.tree.root
