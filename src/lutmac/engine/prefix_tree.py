"""Which pages of the key-value cache hold the keys and values of which tokens."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

NEAREST_OF = 32  # siblings, the latest, that are compared for a common beginning


@dataclass(eq=False, slots=True)
class CachedPage:
    """A page, what it holds, and what it follows: its keys and values depend on all tokens up to the root.

    tokens: int32 ids as bytes; a page that a sequence left unfinished has fewer than a full page's. holders: sequences
    that read it; with none it is idle, and may be given to somebody else.
    """

    page: int
    parent: CachedPage | None
    tokens: bytes
    holders: int = 0
    children: dict[bytes, CachedPage] = field(default_factory=dict)


class PrefixTree:
    """Pages by what they hold, from the first token on; the root stands for the empty beginning.

    Whoever holds a page holds all before it, and releases it before those: so idle pages, least recently used first,
    come with every page after its children. Tokens are compared in full, not by a hash that somebody could forge.
    """

    def __init__(self) -> None:
        """An empty tree."""
        self.root = CachedPage(-1, None, b"")
        self._idle: OrderedDict[CachedPage, None] = OrderedDict()

    @property
    def idle(self) -> int:
        """Pages that nobody holds."""
        return len(self._idle)

    def hold(self, node: CachedPage) -> CachedPage:
        """Keeps a page from being evicted."""
        if node.holders == 0:
            self._idle.pop(node, None)
        node.holders += 1
        return node

    def release(self, node: CachedPage) -> None:
        """Undoes a ``hold``."""
        node.holders -= 1
        if node.holders == 0:
            self._idle[node] = None

    def add(self, parent: CachedPage, tokens: bytes, page: int) -> CachedPage:
        """Puts a page behind a held parent and holds it; where there is one for these tokens already, holds that."""
        node = parent.children.get(tokens)
        if node is None:
            node = parent.children[tokens] = CachedPage(page, parent, tokens)
        return self.hold(node)

    def nearest(self, parent: CachedPage, tokens: NDArray[np.int32]) -> tuple[CachedPage | None, int]:
        """The page behind ``parent`` that begins with the most of these tokens, and with how many."""
        best, most = None, 0
        for node in islice(reversed(parent.children.values()), NEAREST_OF):
            held = np.frombuffer(node.tokens, dtype=np.int32)
            length = min(len(held), len(tokens))
            differs = np.flatnonzero(held[:length] != tokens[:length])
            common = int(differs[0]) if len(differs) else length
            if common > most:
                best, most = node, common
        return best, most

    def evict(self) -> int | None:
        """Forgets the page that has been idle for longest and returns it; None where every page is held."""
        if not self._idle:
            return None
        node, _ = self._idle.popitem(last=False)
        assert node.parent is not None
        del node.parent.children[node.tokens]
        return node.page
