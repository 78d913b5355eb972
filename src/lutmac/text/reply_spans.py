"""Which tokens of a chat's prompt are the assistant's own: those that a model writes when it replies.

They are what a turn has behind its header, through its end mark. The header is what a template writes to begin a reply,
as far as the turn begins so; where the assistant's turns are is known from the loop that wrote them. A template that
writes messages in no such loop has no spans, which costs a computation and is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from lutmac.text.encoder import Part
from lutmac.text.foreign_text import ForeignText
from lutmac.text.rendered import MessagePlace, Rendered
from lutmac.text.tokenizer import Tokenizer

ASSISTANT: Final = "assistant"
PARTED: Final = re.compile(r"[^\s\w>\]):]*\w*\Z")  # the beginning of a tag, or of a word
HEADER: Final = 1000  # characters behind a control token that are encoded to find a place among them

Span = tuple[int, int]


def reply_spans(
    tokenizer: Tokenizer, foreign: ForeignText, rendered: Rendered, beginnings: Collection[str], ids: list[int]
) -> tuple[Span, ...]:
    """Spans [begin, end) of the assistant's tokens, in order.

    beginnings: with what the template may begin a reply. ids: the tokens of the rendered chat.
    """
    ends = [tokenizer.token_text(id) for id in tokenizer.end_of_generation]
    spans = [_own(rendered.text, place, beginnings, ends) for place in rendered.messages if place.role == ASSISTANT]
    places = _Places(tokenizer, foreign, rendered.text, ids)
    found = [(places.token_at(begin), places.token_at(end)) for begin, end in spans]
    return tuple((begin, end) for begin, end in found if begin < end)


def _own(text: str, place: MessagePlace, beginnings: Iterable[str], ends: Iterable[str]) -> Span:
    """The characters behind a message's header, through its end mark. ends: how end marks are written."""
    written = text[place.begin : place.end]
    blank = len(written) - len(written.lstrip())
    header = blank + max(_header(written[blank:], beginning.lstrip()) for beginning in beginnings)
    if place.open:
        return place.begin + header, place.end
    # What users wrote cannot be taken for a mark: such texts are replaced as long as a chat is being rendered.
    # A reply that is drawn ends at the first mark; behind it some templates write the results of calls.
    marks = [found + len(mark) for mark in ends if (found := written.find(mark, header)) >= 0]
    return place.begin + header, place.begin + max(header, min(marks, default=len(written.rstrip())))


def _header(written: str, beginning: str) -> int:
    """How many characters both begin with; none of a tag or word with which they part."""
    common = _common(written, beginning)
    return common if common == len(beginning) else len(PARTED.sub("", written[:common]))


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many items both begin with."""
    length = min(len(one), len(other))
    return next((place for place in range(length) if one[place] != other[place]), length)


class _Places:
    """Characters of a rendered chat to tokens, asked for in order."""

    def __init__(self, tokenizer: Tokenizer, foreign: ForeignText, text: str, ids: list[int]) -> None:
        self._tokenizer = tokenizer
        self._foreign = foreign
        self._text = text
        self._ids = ids
        self._read = 0  # characters
        self._behind = 0  # tokens, up to the last control token that was read
        self._start_behind(None)

    def token_at(self, place: int) -> int:
        """The first token that is not wholly in front of a character."""
        for text, parse_special in self._foreign.segments(self._text[self._read : place]):
            for part in self._tokenizer.split_control(text) if parse_special else [text]:
                self._pass(part)
        self._read = place
        return self._behind + (self._count_alike() if len(self._plain) <= HEADER else self._count_bytes())

    def _start_behind(self, control: int | None) -> None:
        self._control = control  # the last control token that was read
        self._plain = ""  # what has been read behind it, if that is no longer than a header
        self._left = 0  # bytes of it that are not those of tokens which are counted
        self._counted = 0

    def _pass(self, part: Part) -> None:
        if isinstance(part, str):
            if len(self._plain) <= HEADER:
                self._plain += part
            self._left += len(part.encode(errors="replace"))
            return
        with suppress(ValueError):  # it is always there
            self._behind = self._ids.index(part, self._behind) + 1
            self._start_behind(part)

    def _count_alike(self) -> int:
        """How many tokens behind the last control token are those of the text that was read."""
        alone = self._tokenizer.encode_behind(self._control, self._plain) if self._plain else []
        return _common(alone, self._ids[self._behind : self._behind + len(alone)])

    def _count_bytes(self) -> int:
        """The same by the bytes of tokens, which takes no longer for a place further on."""
        while self._behind + self._counted < len(self._ids):
            token = self._tokenizer.token_bytes(self._ids[self._behind + self._counted])
            if not self._counted and token.startswith(b" ") and not self._plain.startswith(" "):
                token = token[1:]  # a space that encoding puts before a text
            if len(token) > self._left:
                break
            self._left -= len(token)
            self._counted += 1
        return self._counted
