"""Pages of the key-value cache: which sequence has which. What a page contains is known to the native side only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from lutmac import _native
from lutmac.engine.running.prefix_tree import NO_PAGE, CachedPage, PrefixTree

PAGE_TOKENS = _native.PAGE_TOKENS


def pages_for(tokens: int) -> int:
    """Pages that hold so many positions."""
    return -(-tokens // PAGE_TOKENS)


def first_page(window: int, position: int) -> int:
    """The first page that attention with this window reads for a token at ``position``; window 0: all positions."""
    return max(0, position - window + 1) // PAGE_TOKENS if window else 0


class Pool:
    """The pages of one cache group: held by sequences, free, or idle (in the prefix tree and held by no sequence).

    A free page that came back last is given out first, since the system has already given it memory. If no page is
    free, an idle one is evicted: first those that no sequence would read again, then the least recently used.
    """

    def __init__(self, group: int, num_pages: int, window: int, tree: PrefixTree) -> None:
        """group: its number. window: positions that its layers read, 0 for all."""
        self.group = group
        self.num_pages = num_pages
        self.window = window
        self._tree = tree
        self._free = list(range(num_pages - 1, -1, -1))
        self._idle: OrderedDict[CachedPage, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Pages that no sequence holds."""
        return len(self._free) + len(self._idle)

    def allocate(self) -> int | None:
        """A page whose contents nobody needs; None where sequences hold all."""
        if self._free:
            return self._free.pop()
        if not self._idle:
            return None
        node, _ = self._idle.popitem(last=False)
        page, node.pages[self.group] = node.pages[self.group], NO_PAGE
        self._tree.prune(node)
        return page

    def free(self, page: int) -> None:
        """Takes back a page that is not in the tree."""
        self._free.append(page)

    def hold(self, node: CachedPage) -> int:
        """Protects a node's page of this group from eviction, and returns its number."""
        if node.holders[self.group] == 0:
            self._idle.pop(node, None)
        node.holders[self.group] += 1
        return node.pages[self.group]

    def release(self, node: CachedPage, *, spent: bool = False) -> None:
        """Undoes a ``hold``. spent: the page lies behind a window, and is evicted before others."""
        node.holders[self.group] -= 1
        if node.holders[self.group] == 0:
            self._idle[node] = None
            if spent:
                self._idle.move_to_end(node, last=False)


class PageManager:
    """Gives sequences pages and takes them back: for each 64 positions one page of every cache group.

    Pages that come back with contents go into the ``tree``, where later sequences find them.
    """

    def __init__(self, num_pages: Sequence[int], windows: Sequence[int] = (0,)) -> None:
        """num_pages, windows: of each cache group; see Pool."""
        self.tree = PrefixTree(len(num_pages))
        groups = enumerate(zip(num_pages, windows, strict=True))
        self.pools = [Pool(group, count, window, self.tree) for group, (count, window) in groups]

    @property
    def tightest(self) -> Pool | None:
        """The group with the smallest share of its pages available; None where there are no groups of pages."""
        return min(self.pools, key=lambda pool: pool.available / pool.num_pages, default=None)

    def allocate(self) -> list[int] | None:
        """A page of every group; None where sequences hold all of one."""
        pages: list[int] = []
        for pool in self.pools:
            page = pool.allocate()
            if page is None:
                for other, taken in zip(self.pools, pages, strict=False):
                    other.free(taken)
                return None
            pages.append(page)
        return pages
