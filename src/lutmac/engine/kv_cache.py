"""Who has which page of the key-value cache. What is in the pages is the native side's business."""

from __future__ import annotations

from lutmac import _native
from lutmac.engine.prefix_tree import PrefixTree

PAGE_TOKENS = _native.PAGE_TOKENS


def pages_for(tokens: int) -> int:
    """Pages that hold so many positions."""
    return -(-tokens // PAGE_TOKENS)


class PageManager:
    """Gives pages to sequences and takes them back. A page is one of every cache group, under the same number.

    Pages that come back with their contents go to the ``tree``, where later sequences find them, until the free ones
    are used up. Of these, the one that came back last is given out first: the system has already put memory behind it.
    """

    def __init__(self, num_pages: int) -> None:
        """num_pages: of each cache group."""
        self.num_pages = num_pages
        self.tree = PrefixTree()
        self._free = list(range(num_pages - 1, -1, -1))

    @property
    def available(self) -> int:
        """Pages that no sequence holds."""
        return len(self._free) + self.tree.idle

    def allocate(self) -> int | None:
        """A page whose contents nobody needs; None where sequences hold all."""
        return self._free.pop() if self._free else self.tree.evict()

    def free(self, page: int) -> None:
        """Takes back a page that is not in the tree."""
        self._free.append(page)
