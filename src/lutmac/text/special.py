"""Finding whole tokens, such as `<|im_end|>`, inside text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

# One look-up of a slice in a dictionary takes about as long as a substring search takes over this many characters.
_LOOKUP_COST = 200


class TokenMatcher:
    """Splits text at the tokens of a given set.

    Longer tokens win over shorter ones wherever in the text they stand, and of equal ones the leftmost: llama.cpp's
    order.
    """

    def __init__(self, tokens: Mapping[str, int]) -> None:
        """`tokens` maps a token's text to its id; empty texts are ignored."""
        self._ids = {text: id for text, id in tokens.items() if text}
        by_start: defaultdict[str, list[str]] = defaultdict(list)
        for text in self._ids:
            by_start[text[0]].append(text)
        self._by_start = {start: (texts, {len(text) for text in texts}) for start, texts in by_start.items()}

    def split(self, text: str) -> list[str | int]:
        """The text as a list of plain strings, none of them empty, and token ids."""
        pieces: list[str | int] = [text] if text else []
        for token in sorted(
            self._present(text), key=lambda token: (-len(token.encode(errors="surrogateescape")), token)
        ):
            pieces = [part for piece in pieces for part in self._split_at(piece, token)]
        return pieces

    def _present(self, text: str) -> Iterator[str]:
        """The tokens that occur anywhere in the text: a search for each, or a look at each place one could begin."""
        for start, (tokens, lengths) in self._by_start.items():
            places = text.count(start)
            if places * len(lengths) * _LOOKUP_COST > len(tokens) * len(text):
                yield from (token for token in tokens if token in text)
            elif places:
                yield from self._beginning_with(start, lengths, text)

    def _beginning_with(self, start: str, lengths: Iterable[int], text: str) -> set[str]:
        found: set[str] = set()
        place = text.find(start)
        while place >= 0:
            found.update(text[place : place + length] for length in lengths)
            place = text.find(start, place + 1)
        return found & self._ids.keys()

    def _split_at(self, piece: str | int, token: str) -> list[str | int]:
        if isinstance(piece, int) or token not in piece:
            return [piece]
        id = self._ids[token]
        first, *rest = piece.split(token)
        parts: list[str | int] = [first]
        for part in rest:
            parts += (id, part)
        return [part for part in parts if part != ""]
