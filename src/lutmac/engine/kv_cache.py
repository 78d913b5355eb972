"""Who owns which page of the key-value cache. What is in the pages is the native side's business."""

from __future__ import annotations

from collections.abc import Sequence

from lutmac import _native
from lutmac.errors import ContextOverflowError

PAGE_TOKENS = _native.PAGE_TOKENS


def pages_for(tokens: int) -> int:
    """Pages that hold so many positions."""
    return -(-tokens // PAGE_TOKENS)


class PageManager:
    """Gives pages of every cache group to sequences and takes them back.

    A page that came back last is given out first: the system has already put memory behind it.
    """

    def __init__(self, num_pages: Sequence[int]) -> None:
        """num_pages: of each cache group."""
        self._free = [list(range(count - 1, -1, -1)) for count in num_pages]

    @property
    def num_groups(self) -> int:
        """Cache groups; every sequence has a block table for each."""
        return len(self._free)

    @property
    def available(self) -> int:
        """Pages that every group still has."""
        return min((len(free) for free in self._free), default=0)

    def allocate(self, count: int) -> list[list[int]]:
        """So many pages of each group. Raises ContextOverflowError where a group has fewer left."""
        if count > self.available:
            raise ContextOverflowError(
                f"{count * PAGE_TOKENS} more positions are wanted, {self.available * PAGE_TOKENS} are left"
            )
        return [[free.pop() for _ in range(count)] for free in self._free]

    def free(self, pages: list[list[int]]) -> None:
        """Takes pages back and empties the lists."""
        for free, owned in zip(self._free, pages, strict=True):
            free.extend(reversed(owned))
            owned.clear()
