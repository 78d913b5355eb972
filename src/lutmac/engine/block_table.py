"""The pages of one sequence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.kv_cache import PAGE_TOKENS, PageManager, pages_for
from lutmac.engine.prefix_tree import CachedPage

# A copied page costs about as much as computing a token or two, at any model's size.
COPY_FROM = 4


class BlockTable:
    """For positions 0 to 63, 64 to 127 and so on, the page that has them.

    The first pages are full and stand in the prefix tree; the others are this sequence's own. private: none is ever put
    into the tree or found there.
    """

    def __init__(self, max_tokens: int, *, private: bool = False) -> None:
        """max_tokens: positions that it may come to have."""
        self.private = private
        self._pages = np.zeros(pages_for(max_tokens), dtype=np.int32)
        self._count = 0
        self._cached: list[CachedPage] = []

    @property
    def pages(self) -> NDArray[np.int32]:
        """Numbers of the pages: a view."""
        return self._pages[: self._count]

    @property
    def cached_tokens(self) -> int:
        """Positions on pages of the tree."""
        return len(self._cached) * PAGE_TOKENS

    def lacks(self, tokens: int) -> int:
        """Pages that are missing for so many positions."""
        return max(0, -(-tokens // PAGE_TOKENS) - self._count)

    def open_page(self, tokens: NDArray[np.int32]) -> tuple[CachedPage | None, bytes] | None:
        """What the first page that is not in the tree yet will be there; None where the tokens do not fill it."""
        begin = self.cached_tokens
        if self.private or begin + PAGE_TOKENS > len(tokens):
            return None
        return (self._cached[-1] if self._cached else None), tokens[begin : begin + PAGE_TOKENS].tobytes()

    def adopt(self, manager: PageManager, tokens: NDArray[np.int32]) -> int:
        """Appends full pages of the tree that hold the next tokens, where no page is begun; tokens it then has."""
        while not self.private and self._count == len(self._cached):
            begin = self.cached_tokens
            if begin + PAGE_TOKENS > len(tokens):
                break
            node = self._parent(manager).children.get(tokens[begin : begin + PAGE_TOKENS].tobytes())
            if node is None:
                break
            self._append_cached(manager.tree.hold(node))
        return self.cached_tokens

    def adopt_beginning(
        self, manager: PageManager, tokens: NDArray[np.int32], copy_page: Callable[[int, int], None]
    ) -> int:
        """After ``adopt``: copies the page that begins with the most of the next tokens; tokens it then has.

        copy_page: copies the contents of one page to another.
        """
        begin = self.cached_tokens
        if self.private or self._count > len(self._cached):
            return begin
        node, common = manager.tree.nearest(self._parent(manager), tokens[begin : begin + PAGE_TOKENS])
        if node is None or common < COPY_FROM:
            return begin
        manager.tree.hold(node)
        if self.grow(manager, begin + common):
            copy_page(node.page, int(self._pages[self._count - 1]))
            begin += common
        manager.tree.release(node)
        return begin

    def grow(self, manager: PageManager, tokens: int) -> bool:
        """Makes room for so many positions; False where pages run out (those it got, it keeps)."""
        for _ in range(self.lacks(tokens)):
            page = manager.allocate()
            if page is None:
                return False
            self._pages[self._count] = page
            self._count += 1
        return True

    def commit(self, manager: PageManager, tokens: NDArray[np.int32]) -> None:
        """Puts pages that are full by now into the tree. tokens: those whose keys and values are computed.

        Where another sequence was first with the same page, that one is shared: their contents are equal bit for bit.
        """
        while not self.private and self.cached_tokens + PAGE_TOKENS <= len(tokens):
            begin, own = self.cached_tokens, int(self._pages[len(self._cached)])
            node = manager.tree.add(self._parent(manager), tokens[begin : begin + PAGE_TOKENS].tobytes(), own)
            if node.page != own:
                manager.free(own)
                self._pages[len(self._cached)] = node.page
            self._cached.append(node)

    def release(self, manager: PageManager, tokens: NDArray[np.int32]) -> None:
        """Gives all pages back, the tree those that hold something. tokens: as in ``commit``."""
        self.commit(manager, tokens)
        own = self._pages[len(self._cached) : self._count].tolist()
        rest = tokens[self.cached_tokens :]
        if own and len(rest) and not self.private:
            node = manager.tree.add(self._parent(manager), rest.tobytes(), own[0])
            manager.tree.release(node)
            if node.page == own[0]:
                own.pop(0)
        for page in reversed(own):
            manager.free(page)
        for node in reversed(self._cached):
            manager.tree.release(node)
        self._cached.clear()
        self._count = 0

    def _parent(self, manager: PageManager) -> CachedPage:
        return self._cached[-1] if self._cached else manager.tree.root

    def _append_cached(self, node: CachedPage) -> None:
        self._pages[self._count] = node.page
        self._count += 1
        self._cached.append(node)
