"""The pages of one sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.running.kv_cache import PAGE_TOKENS, PageManager, Pool, first_page, pages_for
from lutmac.engine.running.prefix_tree import NO_PAGE, CachedPage, Snapshot

# A copied page costs about as much as computing a token or two, at any model's size.
COPY_FROM = 4

CopyPage = Callable[[int, int, int], None]  # copies a page: group, source, target


@dataclass(frozen=True)
class Resumption:
    """Where a sequence can go on in a model with slots: after full pages of the tree, at a snapshot.

    path: the pages. tokens: how many positions it then has. begun: if the snapshot lies within a page, the pages (one
    of each group) whose beginning is to be copied; node: the node of these pages, if they are in the tree.
    """

    path: list[CachedPage]
    snapshot: Snapshot
    tokens: int
    begun: Sequence[int] = ()
    node: CachedPage | None = None


class PageTable:
    """The pages of one sequence: for each 64 positions one of every cache group.

    The first pages are full and in the prefix tree; the others belong to this sequence only. Pages behind a group's
    window are given back as the sequence grows. private: no page is ever put into the tree or taken from it.
    """

    def __init__(self, max_tokens: int, windows: Sequence[int] = (0,), *, private: bool = False) -> None:
        """max_tokens: the most positions that it may have. windows: of each cache group, 0 for all positions."""
        self.private = private
        self._windows = windows
        self._pages = np.zeros((len(windows), pages_for(max_tokens)), dtype=np.int32)
        self._count = 0
        self._first = [0] * len(windows)  # of each group the first page that it still has
        self._cached: list[CachedPage] = []
        self._lent: list[Snapshot] = []  # snapshots that lend pages of this table

    def pages(self, group: int = 0) -> NDArray[np.int32]:
        """The numbers of the pages of a group: a view. Pages that were given back are 0, and are never read."""
        return self._pages[group, : self._count]

    def first(self, group: int) -> int:
        """The first page that was not given back."""
        return self._first[group]

    @property
    def cached_tokens(self) -> int:
        """Positions on pages of the tree."""
        return len(self._cached) * PAGE_TOKENS

    def lacks(self, tokens: int) -> int:
        """How many pages of each group are missing for so many positions."""
        return max(0, pages_for(tokens) - self._count)

    def open_page(self, tokens: NDArray[np.int32]) -> tuple[CachedPage | None, bytes] | None:
        """The node that its first page outside of the tree will be; None if ``tokens`` do not fill that page."""
        begin = self.cached_tokens
        if self.private or begin + PAGE_TOKENS > len(tokens):
            return None
        return (self._cached[-1] if self._cached else None), tokens[begin : begin + PAGE_TOKENS].tobytes()

    def adopt(self, manager: PageManager, tokens: NDArray[np.int32]) -> int:
        """Appends full pages of the tree that hold the next tokens. Returns how many tokens it then has.

        Does nothing if a page is begun. Stops where a group no longer has what the next token reads.
        """
        if self.private or self._count > len(self._cached):
            return self.cached_tokens
        found = self._find(manager, tokens)
        while found and not self._readable(manager, found):
            found.pop()
        if found:
            self._append(manager, found)
        return self.cached_tokens

    def adopt_beginning(self, manager: PageManager, tokens: NDArray[np.int32], copy_page: CopyPage) -> int:
        """After ``adopt``: copies the page that shares the most next tokens. Returns how many tokens it then has."""
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

    def find_snapshot(self, manager: PageManager, tokens: NDArray[np.int32], computed: int) -> Resumption | None:
        """The last snapshot of these tokens behind ``computed`` for which every group has its pages."""
        if self.private:
            return None
        path = self._find(manager, tokens)
        for pages in range(len(path), -1, -1):
            begin = self.cached_tokens + pages * PAGE_TOKENS
            if begin + PAGE_TOKENS <= computed:
                break
            node = path[pages - 1] if pages else self._parent(manager)
            if not node.snapshots or not self._readable(manager, path[:pages]):
                continue
            for snapshot in manager.tree.snapshots(node, tokens[begin : begin + PAGE_TOKENS]):
                if begin + snapshot.count <= computed:
                    break
                found = self._resumption(manager, path[:pages], snapshot)
                if found is not None:
                    return found
        return None

    def resume(self, manager: PageManager, found: Resumption) -> None:
        """Appends the full pages that were found, in place of a page that is begun."""
        self._end_loans()
        for index in range(len(self._cached), self._count):
            for pool in manager.pools:
                pool.free(int(self._pages[pool.group, index]))
        self._count = len(self._cached)
        self._append(manager, found.path)

    def resume_beginning(self, manager: PageManager, found: Resumption, copy_page: CopyPage) -> None:
        """After ``resume``: copies the beginning of the page in which the snapshot lies, if any."""
        if not found.snapshot.count:
            return
        held = [] if found.node is None else [found.node]
        for pool in manager.pools:
            for node in held:
                pool.hold(node)
        grown = self.grow(manager, found.tokens)
        assert grown, "find_snapshot saw to a page"
        for pool, source in zip(manager.pools, found.begun, strict=True):
            copy_page(pool.group, source, int(self._pages[pool.group, self._count - 1]))
            for node in held:
                pool.release(node)

    def parting(self, manager: PageManager, tokens: NDArray[np.int32]) -> int | None:
        """Where these tokens depart from others in the tree; None if they do not."""
        path = self._find(manager, tokens)
        node, begin = path[-1] if path else self._parent(manager), self.cached_tokens + len(path) * PAGE_TOKENS
        common = manager.tree.parting(node, tokens[begin : begin + PAGE_TOKENS])
        return None if common is None else begin + common

    def stand(self, manager: PageManager, tokens: NDArray[np.int32]) -> tuple[CachedPage, bytes]:
        """After ``commit``: the last full page, and the tokens behind it."""
        return self._parent(manager), tokens[self.cached_tokens :].tobytes()

    def lend(self, snapshot: Snapshot) -> None:
        """Lets others copy this table's open page, up to the position of a snapshot that was just taken."""
        if snapshot.count:
            snapshot.open_pages = self._pages[:, len(self._cached)].tolist()
            self._lent.append(snapshot)

    def grow(self, manager: PageManager, tokens: int) -> bool:
        """Gets pages for so many positions; False if there are not enough (those that it got, it keeps)."""
        for _ in range(self.lacks(tokens)):
            pages = manager.allocate()
            if pages is None:
                return False
            self._pages[:, self._count] = pages
            self._count += 1
        return True

    def commit(self, manager: PageManager, tokens: NDArray[np.int32]) -> None:
        """Puts full pages into the tree. tokens: those whose keys and values are computed.

        If another sequence has put the same page there before, that one is shared: the contents are equal bit for bit.
        """
        while not self.private and self.cached_tokens + PAGE_TOKENS <= len(tokens):
            begin, index = self.cached_tokens, len(self._cached)
            self._end_loans()
            node = manager.tree.add(self._parent(manager), tokens[begin : begin + PAGE_TOKENS].tobytes())
            node.users += 1
            for pool in manager.pools:
                self._hand_over(manager, node, pool.group, index)
                self._pages[pool.group, index] = pool.hold(node)
            self._cached.append(node)

    def give_back(self, manager: PageManager, computed: int) -> None:
        """Gives back pages that no token from position ``computed`` on reads: those behind a window."""
        for pool in manager.pools:
            needed = min(first_page(pool.window, computed), self._count)
            for index in range(self._first[pool.group], needed):
                self._let_go(manager, pool.group, index, spent=True)
                self._pages[pool.group, index] = 0
            self._first[pool.group] = max(self._first[pool.group], needed)

    def release(self, manager: PageManager, tokens: NDArray[np.int32]) -> None:
        """Gives back all pages; those with contents go to the tree. tokens: as in ``commit``."""
        self.commit(manager, tokens)
        self._end_loans()
        kept = len(self._cached)
        if self._count > kept and len(tokens) > self.cached_tokens and not self.private:
            node = manager.tree.add(self._parent(manager), tokens[self.cached_tokens :].tobytes())
            node.users += 1
            self._cached.append(node)  # unfinished; released with the others
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

    def _end_loans(self) -> None:
        for snapshot in self._lent:
            snapshot.open_pages = None
        self._lent.clear()

    def _resumption(self, manager: PageManager, path: list[CachedPage], snapshot: Snapshot) -> Resumption | None:
        """What a snapshot behind these pages is good for.

        None where the page in which it lies is lost, or there is no other to copy it to.
        """
        tokens = self.cached_tokens + len(path) * PAGE_TOKENS + snapshot.count
        if not snapshot.count or not manager.pools:
            return Resumption(path, snapshot, tokens)
        begun, node = snapshot.open_pages, None
        if begun is None:
            node = manager.tree.beginning_with(snapshot.node, snapshot.tokens)
            if node is None:
                return None
            begun = node.pages
        if any(pool.available <= self._idle(pool, path, node) for pool in manager.pools):
            return None
        return Resumption(path, snapshot, tokens, begun, node)

    def _idle(self, pool: Pool, path: list[CachedPage], begun: CachedPage | None) -> int:
        """How many pages of a group that are idle now would be held with these."""
        own = len(self._cached)
        needed = first_page(pool.window, (own + len(path)) * PAGE_TOKENS)
        held = path[max(0, needed - own) :] + ([] if begun is None else [begun])
        return sum(node.holders[pool.group] == 0 for node in held)

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
