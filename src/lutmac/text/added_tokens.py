"""Added tokens of a Hugging Face tokenizer: found in a text as a whole, by the rules of the library `tokenizers`.

The flags are those of https://huggingface.co/docs/tokenizers/api/added-tokens.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from lutmac.bounded_json import shown
from lutmac.errors import CheckpointError
from lutmac.text.encoder import Part

SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Unicode calls white space (property White_Space)."""


@dataclass(frozen=True)
class AddedToken:
    """A token beside the model's, or one of the model's that is found before the model sees the text.

    special: a control token. lstrip, rstrip: it swallows the white space before, behind it. single_word: it is found
    only where no letter, digit or underscore touches it. normalized: it is sought in the normalised text.
    """

    id: int
    text: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False

    @classmethod
    def read(cls, entry: object, where: str, id: object = None) -> AddedToken:
        """A token as tokenizer.json and tokenizer_config.json describe one. Raises CheckpointError.

        where: the file, for the message. id: where the description itself has none.
        """
        if isinstance(entry, dict):
            id, text = entry.get("id", id), entry.get("content")
            if type(id) is int and id >= 0 and isinstance(text, str):
                special = bool(entry.get("special"))
                flags = {name: bool(entry.get(name)) for name in ("lstrip", "rstrip", "single_word")}
                return cls(id, text, special, **flags, normalized=bool(entry.get("normalized", not special)))
        raise CheckpointError(f"{where}: added token {shown(entry)} has no id or no content")

    def entry(self) -> dict[str, Any]:
        """The description as it stands in tokenizer.json."""
        flags = {name: getattr(self, name) for name in ("special", "lstrip", "rstrip", "single_word", "normalized")}
        return {"id": self.id, "content": self.text, **flags}


class ControlTokens:
    """Cuts a text at its control tokens, where `tokenizers` would find them.

    The leftmost token counts, and of those that begin together the longest. Tokens that are not special count too: a
    control token that begins inside of one is text.
    """

    def __init__(self, added: Iterable[AddedToken]) -> None:
        """added: all tokens, special or not."""
        tokens = [token for token in added if token.text]
        self._passes = [_Finder(group) for group in _by_normalization(tokens) if any(t.special for t in group)]

    def cut(self, text: str) -> list[Part]:
        """Texts, none of them empty, and the ids of control tokens."""
        parts: list[Part] = [text] if text else []
        for finder in self._passes:
            parts = [
                piece
                for part in parts
                for piece in (finder.cut(part) if isinstance(part, str) else (part,))
                if piece != ""
            ]
        return parts


def _by_normalization(tokens: list[AddedToken]) -> Iterator[list[AddedToken]]:
    yield [token for token in tokens if not token.normalized]
    yield [token for token in tokens if token.normalized]


class _Finder:
    def __init__(self, tokens: list[AddedToken]) -> None:
        self._tokens = {token.text: token for token in tokens}
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        for text in self._tokens:
            lengths[text[0]].add(len(text))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}
        self._starts = re.compile("[" + "".join(map(re.escape, lengths)) + "]")

    def cut(self, text: str) -> Iterator[Part]:
        done = 0
        for place, token in self._found(text):
            if token.special and not (token.single_word and _touches_word(text, place, place + len(token.text))):
                yield text[done:place]
                yield token.id
                done = place + len(token.text)
        yield text[done:]

    def _found(self, text: str) -> Iterator[tuple[int, AddedToken]]:
        match = self._starts.search(text)
        while match is not None:
            place = match.start()
            token = self._at(text, place)
            if token is not None:
                yield place, token
            match = self._starts.search(text, place + (1 if token is None else len(token.text)))

    def _at(self, text: str, place: int) -> AddedToken | None:
        candidates = (self._tokens.get(text[place : place + length]) for length in self._lengths[text[place]])
        return next((token for token in candidates if token is not None), None)


def _touches_word(text: str, begin: int, end: int) -> bool:
    return bool(re.match(r"\w", text[end : end + 1]) or (begin and re.match(r"\w", text[begin - 1])))
