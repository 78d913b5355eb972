"""Stop strings: a reply ends before any of them, however its text arrives."""

from __future__ import annotations

from typing import TypeAlias

Trie: TypeAlias = "dict[str, Trie]"
_END = ""  # key of a node at which a stop string ends


class StopMatcher:
    """Passes text on until a stop string appears; holds back what may turn out to be the beginning of one.

    All strings are matched at once in a trie, so that thousands of them cost little more than one.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        """stops: strings that are not empty."""
        self._root: Trie = {}
        for stop in stops:
            node = self._root
            for character in stop:
                node = node.setdefault(character, {})
            node[_END] = {}
        self._held = ""
        self._open: list[tuple[int, Trie]] = []  # places in the held text where a stop string may have begun
        self.matched = False

    def push(self, text: str) -> str:
        """The text that is sure to stand before any stop string."""
        if self.matched:
            return ""
        if not self._root:
            return text
        place, self._held = len(self._held), self._held + text
        first = self._first_match(text, place)
        if first is not None:
            self.matched = True
            return self._held[:first]
        keep_from = self._open[0][0] if self._open else len(self._held)
        sure, self._held = self._held[:keep_from], self._held[keep_from:]
        self._open = [(start - keep_from, node) for start, node in self._open]
        return sure

    def flush(self) -> str:
        """What is held back, when nothing more can follow."""
        return "" if self.matched else self._held

    def _first_match(self, text: str, place: int) -> int | None:
        """Where the first of the stop strings that end within the new text begins."""
        first: int | None = None
        for offset, character in enumerate(text):
            self._open.append((place + offset, self._root))
            self._open = [(start, node[character]) for start, node in self._open if character in node]
            for start, node in self._open:
                if _END in node and (first is None or start < first):
                    first = start
        return first
