"""Which pages of the key-value cache hold which tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEAREST_OF = 32  # siblings, the latest, that are compared for a common beginning
NO_PAGE: Final = -1  # of a group that does not have it any more
KEY_BYTES: Final = 4  # of a token in the tree


@dataclass(eq=False, slots=True)
class CachedPage:
    """A node: up to 64 tokens, the pages that hold their keys and values, and the node before.

    tokens: their keys (see ``Sequence.keys``) as bytes; fewer than a full page's if a sequence left the page
    unfinished. pages: one of each cache group, NO_PAGE if it was evicted. holders: of each group, how many sequences
    hold its page; without any, the page is idle and may be evicted. users: sequences that are at this node, also if
    they no longer hold its pages. snapshots: of slots, by the further tokens that they have seen.
    """

    parent: CachedPage | None
    tokens: bytes
    pages: list[int]
    holders: list[int]
    users: int = 0
    children: dict[bytes, CachedPage] = field(default_factory=dict)
    snapshots: dict[bytes, Snapshot] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every group has its page."""
        return NO_PAGE not in self.pages


@dataclass(eq=False, slots=True)
class Snapshot:
    """A copy of a slot at a position: ``tokens``, fewer than a page's, behind the full page ``node``.

    open_pages: of each cache group the page on which a running sequence has these tokens, while that page is not in the
    tree.
    """

    node: CachedPage
    tokens: bytes
    slot: int
    open_pages: list[int] | None = None

    @property
    def count(self) -> int:
        """Tokens behind the full page."""
        return len(self.tokens) // KEY_BYTES


class PrefixTree:
    """Full pages of all sequences, found by their tokens from the first one on.

    Tokens are compared in full: a hash could be forged.
    """

    def __init__(self, groups: int) -> None:
        """An empty tree of pages of so many cache groups."""
        self._groups = groups
        self.root = self._node(None, b"")

    def add(self, parent: CachedPage, tokens: bytes) -> CachedPage:
        """What stands behind a parent for these tokens; new, it has no pages yet."""
        node = parent.children.get(tokens)
        if node is None:
            node = parent.children[tokens] = self._node(parent, tokens)
        return node

    def nearest(self, parent: CachedPage, tokens: NDArray[np.int32]) -> tuple[CachedPage | None, int]:
        """The complete page behind ``parent`` that begins with the most of these tokens, and with how many."""
        best, most = None, 0
        for node in islice(reversed(parent.children.values()), NEAREST_OF):
            held = np.frombuffer(node.tokens, dtype=np.int32)
            length = min(len(held), len(tokens))
            differs = np.flatnonzero(held[:length] != tokens[:length])
            common = int(differs[0]) if len(differs) else length
            if common > most and node.complete:
                best, most = node, common
        return best, most

    def beginning_with(self, parent: CachedPage, tokens: bytes) -> CachedPage | None:
        """A complete page behind ``parent`` that begins with all of these tokens."""
        exact = parent.children.get(tokens)
        if exact is not None and exact.complete:
            return exact
        node, common = self.nearest(parent, np.frombuffer(tokens, dtype=np.int32))
        return node if common * KEY_BYTES == len(tokens) else None

    def parting(self, node: CachedPage, tokens: NDArray[np.int32]) -> int | None:
        """How many of these tokens others have behind ``node`` that went on otherwise; None where nobody did."""
        if not node.children:
            return None
        child, common = self.nearest(node, tokens)
        return common if child is None or common * KEY_BYTES < len(child.tokens) else None

    def snapshots(self, node: CachedPage, tokens: NDArray[np.int32]) -> list[Snapshot]:
        """Those behind ``node`` that have seen the first of these tokens and nothing else, the longest first."""
        following = tokens.tobytes()
        found = [snapshot for seen, snapshot in node.snapshots.items() if following.startswith(seen)]
        return sorted(found, key=lambda snapshot: len(snapshot.tokens), reverse=True)

    def prune(self, node: CachedPage) -> None:
        """Forgets a node of which nothing is left, and what only led to it."""
        while node.parent is not None and not (node.users or node.children or node.snapshots):
            if any(page != NO_PAGE for page in node.pages):
                return
            if node.parent.children.get(node.tokens) is node:
                del node.parent.children[node.tokens]
            node = node.parent

    def _node(self, parent: CachedPage | None, tokens: bytes) -> CachedPage:
        return CachedPage(parent, tokens, [NO_PAGE] * self._groups, [0] * self._groups)
