"""Turning token ids into text, one at a time."""

from __future__ import annotations

import codecs
from collections.abc import Container, Sequence
from typing import Protocol

from lutmac.text.encoder import SpacePrefix


class TokenTable(Protocol):
    """What a decoder has to know of a tokenizer."""

    prefix: SpacePrefix
    strips_once: bool

    def token_bytes(self, id: int) -> bytes:
        """The bytes a token stands for."""

    def is_special(self, id: int) -> bool:
        """Whether the token is a control token, not text."""

    def is_boundary(self, id: int) -> bool:
        """Whether the token may stand before the beginning of a text."""


class StreamDecoder:
    """Decodes a stream of token ids, giving out text as soon as it is complete.

    No push ever returns half a UTF-8 character; bytes that can belong to none come out as U+FFFD.
    """

    def __init__(
        self,
        table: TokenTable,
        *,
        skip_special: bool = True,
        shown: Container[int] = (),
        prompt: Sequence[int] = (),
    ) -> None:
        """`prompt` is what the stream continues: it decides whether a leading space belongs to the text.

        `shown` are control tokens that are text although `skip_special` leaves the others out.
        """
        self._table = table
        self._skip_special = skip_special
        self._shown = shown
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_boundary = True
        for id in prompt if table.prefix.once else prompt[-1:]:
            self._at_boundary = table.is_boundary(id) and (self._at_boundary or not table.prefix.once)

    def push(self, id: int) -> str:
        """The text that this token completes; often the whole token, "" in the middle of a character.

        Raises InvalidRequestError for an id outside the vocabulary.
        """
        special = self._table.is_special(id)
        skipped = special and self._skip_special and id not in self._shown
        piece = b"" if skipped else self._table.token_bytes(id)
        boundary = self._table.is_boundary(id)
        if self._table.prefix.added and self._at_boundary and not boundary:
            piece = piece.removeprefix(b" ")  # the one that encoding puts before every text
        if self._table.strips_once:
            boundary = boundary and self._at_boundary and skipped
        self._at_boundary = boundary
        return self._utf8.decode(piece)

    def flush(self) -> str:
        """What is left at the end of the stream: U+FFFD for an incomplete character, otherwise ""."""
        return self._utf8.decode(b"", final=True)
