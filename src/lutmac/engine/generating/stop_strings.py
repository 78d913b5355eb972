"""Stop strings: a reply ends before any of them, however its text arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

Trie: TypeAlias = "dict[str | int, Any]"  # by character or control token; _END: the stop string that ends here
_END = ""


class StopMatcher:
    """Passes text on until a stop string appears, and holds back what may be the beginning of one.

    All strings are matched at once in a trie, so thousands cost little more than one. A control token has no text, but
    a stop string that names it matches it. stop: the string that has matched.
    """

    def __init__(self, stops: Iterable[str], cut: Callable[[str], Sequence[str | int]] = lambda text: [text]) -> None:
        """stops: strings that are not empty. cut: a string at the control tokens in it, which become ids."""
        self._root: Trie = {}
        for stop in stops:
            self._add(stop, stop)
            parts = cut(stop)
            if any(isinstance(part, int) for part in parts):
                self._add([symbol for part in parts for symbol in _symbols(part)], stop)
        self._held = ""
        self._open: list[tuple[int, Trie]] = []  # places in the held text where a stop string may have begun
        self.stop: str | None = None

    @property
    def matched(self) -> bool:
        """Whether a stop string has appeared."""
        return self.stop is not None

    def push(self, piece: str | int) -> str:
        """The text before any stop string that is certain now. piece: more text, or a control token."""
        if self.matched:
            return ""
        if not self._root:
            return piece if isinstance(piece, str) else ""
        first = self._first_match(piece)
        if first is not None:
            return self._held[:first]
        keep_from = self._open[0][0] if self._open else len(self._held)
        sure, self._held = self._held[:keep_from], self._held[keep_from:]
        self._open = [(start - keep_from, node) for start, node in self._open]
        return sure

    def flush(self) -> str:
        """The text that was held back, at the end of the reply."""
        return "" if self.matched else self._held

    def _add(self, symbols: Iterable[str | int], stop: str) -> None:
        node = self._root
        for symbol in symbols:
            node = node.setdefault(symbol, {})
        node[_END] = stop

    def _first_match(self, piece: str | int) -> int | None:
        """Where the first of the stop strings that end within the new piece begins."""
        first: int | None = None
        place = len(self._held)
        self._held += piece if isinstance(piece, str) else ""
        for offset, symbol in enumerate(_symbols(piece)):
            self._advance(place + offset, symbol)
            for start, node in self._open:
                if _END in node and (first is None or start < first):
                    first, self.stop = start, node[_END]
        return first

    def _advance(self, place: int, symbol: str | int) -> None:
        before = [*self._open, (place, self._root)]
        after = [(start, node[symbol]) for start, node in before if symbol in node]
        if isinstance(symbol, int):  # nobody sees it, so it does not part the text around it
            after = list({(start, id(node)): (start, node) for start, node in (*self._open, *after)}.values())
            after.sort(key=lambda item: item[0])
        self._open = after


def _symbols(part: str | int) -> Iterable[str | int]:
    return part if isinstance(part, str) else (part,)
