"""What a tokenizer stands on: texts and control tokens to ids, with the spaces and tokens that a vocabulary knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from lutmac.text.special import TokenMatcher
from lutmac.text.vocabulary import TokenType, Vocabulary

Part = str | int
"""A piece of a prompt: plain text, or a control token's id."""

SPECIAL: Final = (TokenType.CONTROL, TokenType.UNKNOWN)
ASCII_SPACE: Final = " \t\n\v\f\r"


@dataclass(frozen=True)
class SpacePrefix:
    """The space that encoding puts before a text, and decoding takes away.

    once: only at the very beginning, not after every control or user-defined token too.
    """

    added: bool = False
    once: bool = False


class Encoder(Protocol):
    """Text to ids and back, for one vocabulary."""

    def cut(self, text: str) -> list[Part]:
        """The text cut at the control tokens in it; no piece is empty."""

    def encode(self, parts: Sequence[Part], *, begins: bool) -> list[int]:
        """Ids of plain texts and control tokens; neighbouring texts are one. begins: whether they begin a prompt."""

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""


class Pieces(Protocol):
    """A way of cutting plain text into ordinary tokens."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""


class PieceEncoder:
    """Finds user-defined tokens, and has `Pieces` encode what lies between them: llama.cpp's way."""

    def __init__(
        self,
        pieces: Pieces,
        vocabulary: Vocabulary,
        *,
        prefix: SpacePrefix = SpacePrefix(),
        strips_right: Iterable[int] = (),
    ) -> None:
        """strips_right: the tokens that swallow the white space after them."""
        special, user_defined = vocabulary.of_type(*SPECIAL), vocabulary.of_type(TokenType.USER_DEFINED)
        self._pieces = pieces
        self._tokens = vocabulary.tokens
        self._prefix = prefix
        self._strips_right = frozenset(strips_right)
        self._special = frozenset(special)
        self._in_text = TokenMatcher({vocabulary.tokens[id]: id for id in user_defined})
        self._in_templates = TokenMatcher({vocabulary.tokens[id]: id for id in special + user_defined})
        self.token_bytes = pieces.token_bytes

    def cut(self, text: str) -> list[Part]:
        """The text cut at the control tokens in it; no piece is empty."""
        parts = self._in_templates.split(text)
        return join_texts(
            part if isinstance(part, str) or part in self._special else self._tokens[part] for part in parts
        )

    def encode(self, parts: Sequence[Part], *, begins: bool) -> list[int]:
        """Ids of plain texts and control tokens; neighbouring texts are one. begins: whether they begin a prompt."""
        ids: list[int] = []
        at_boundary, strips = begins, False
        for joined in join_texts(parts):
            for part in [joined] if isinstance(joined, int) else self._in_text.split(joined):
                if isinstance(part, int):
                    ids.append(part)
                    at_boundary, strips = not self._prefix.once, part in self._strips_right
                elif text := part.lstrip(ASCII_SPACE) if strips else part:
                    ids += self._pieces.encode(" " + text if at_boundary and self._prefix.added else text)
                    at_boundary = strips = False
        return ids


def join_texts(parts: Iterable[Part]) -> list[Part]:
    """The parts with neighbouring texts joined; no text is empty."""
    joined: list[Part] = []
    for is_text, run in groupby(parts, lambda part: isinstance(part, str)):
        items = list(run)
        joined += ["".join(map(str, items))] if is_text else items
    return [part for part in joined if part != ""]
