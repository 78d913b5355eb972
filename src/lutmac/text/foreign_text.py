"""Keeps what users write apart from what a template writes, while the template makes one text of both."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from lutmac.errors import InvalidRequestError
from lutmac.text.tokenizer import Tokenizer


class ForeignText:
    """Stands private-use characters in for special text in messages, and finds them again in what was rendered.

    Only what would become a control token is replaced, so a template that looks into a message still finds what it
    looks for. A half of one at the end of a text counts too, since a template may join texts. (One that cuts out the
    middle of a text could still join two halves.)
    """

    _FIRST, _LAST = 0xF0000, 0xFFFFD  # Supplementary Private Use Area-A
    _PRIVATE = re.compile(f"([{chr(_FIRST)}-{chr(_LAST)}])")

    def __init__(self, tokenizer: Tokenizer) -> None:
        """tokenizer: has the control tokens."""
        self._tokenizer = tokenizer
        self._names = sorted(tokenizer.special_texts)
        self._longest = max(map(len, self._names), default=0)
        self._stand_ins: dict[str, str] = {}

    def mark(self, value: Any) -> Any:
        """The value with every text in it marked, however deep."""
        if isinstance(value, str):
            return self._mark_text(value)
        if isinstance(value, Mapping):
            return {self.mark(key): self.mark(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item) for item in value]
        return value

    def new_mark(self) -> str:
        """A character that stands for nothing, and that no message holds."""
        return self._stand_in("")

    def segments(self, rendered: str) -> list[tuple[str, bool]]:
        """The rendered text cut at the marks, with what they stand for in their places."""
        originals = {stand_in: text for text, stand_in in self._stand_ins.items()}
        parts = self._PRIVATE.split(rendered)
        return [(originals.get(part, part), part not in originals) for part in parts if part]

    def _mark_text(self, text: str) -> str:
        # A character that is already private use is marked as well, so that a message cannot forge a mark.
        text = self._PRIVATE.sub(lambda match: self._stand_in(match.group()), text)
        marked = "".join(self._mark_part(part) for part in self._tokenizer.split_control(text))
        body = marked.rstrip()
        for length in range(min(self._longest - 1, len(body)), 0, -1):
            tail = body[-length:]
            place = bisect_left(self._names, tail)
            if place < len(self._names) and self._names[place].startswith(tail):
                return body[:-length] + self._stand_in(tail) + marked[len(body) :]
        return marked

    def _mark_part(self, part: str | int) -> str:
        if isinstance(part, str):
            return part
        return self._stand_in(self._tokenizer.token_text(part))

    def _stand_in(self, text: str) -> str:
        known = self._stand_ins.get(text)
        if known is None:
            if len(self._stand_ins) > self._LAST - self._FIRST:
                raise InvalidRequestError("the messages hold too many private-use characters")
            known = self._stand_ins[text] = chr(self._FIRST + len(self._stand_ins))
        return known
