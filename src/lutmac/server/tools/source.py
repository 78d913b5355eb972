"""Text that comes in pieces, read by functions that are written as if it were whole.

A reader is a generator: where what there is does not decide how to go on, it yields, and is resumed once there is more.
So it finds the same wherever the text was cut.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")
Parse = Generator[None, None, T]
BLANKS: Final = " \t\r\n"
MAX_NAME: Final = 256  # characters of a name or a tag: longer ones are none


class NotACallError(Exception):
    """What began like a call is none."""


class CutOffError(Exception):
    """The reply was cut off within a call."""


class Source:
    """The text so far. place: where the next reader goes on. closed: nothing follows.

    cut: the reply did not end of itself: what is open in it is not to be closed.
    """

    def __init__(self, text: str = "", *, closed: bool = False) -> None:
        """text: its beginning."""
        self.text = text
        self.place = 0
        self.closed = closed
        self.cut = False

    def forget(self) -> None:
        """Drops what was read, so that long replies take no more time than short ones."""
        if self.place > 4096:
            self.text, self.place = self.text[self.place :], 0

    def peek(self) -> Parse[str]:
        """The next character, "" at the end."""
        while self.place >= len(self.text):
            if self.closed:
                return ""
            yield
        return self.text[self.place]

    def starts(self, marks: Sequence[str]) -> Parse[str]:
        """The longest of the marks that stands here; "" for none."""
        while True:
            rest = self.text[self.place : self.place + MAX_NAME]
            open = [mark for mark in marks if len(mark) > len(rest) and mark.startswith(rest)]
            if not open or self.closed:
                return max((mark for mark in marks if rest.startswith(mark)), key=len, default="")
            yield

    def take(self, marks: Sequence[str]) -> Parse[str]:
        """As starts, and goes on behind it."""
        found = yield from self.starts(marks)
        self.place += len(found)
        return found

    def skip(self, characters: str = BLANKS) -> Parse[str]:
        """Passes over these characters; returns what follows them, as peek."""
        while True:
            found = yield from self.peek()
            if not found or found not in characters:
                return found
            self.place += 1

    def word(self, characters: str) -> Parse[str]:
        """As many of these characters as there are here; not more than a name may have."""
        begin = self.place
        while self.place - begin < MAX_NAME:
            found = yield from self.peek()
            if not found or found not in characters:
                break
            self.place += 1
        return self.text[begin : self.place]

    def until(self, mark: str, most: int = MAX_NAME) -> Parse[str]:
        """The text before the mark, going on behind it. Raises NotACallError where it does not come soon."""
        begin = self.place
        while True:
            found = self.text.find(mark, begin, begin + most + len(mark))
            if found >= 0:
                self.place = found + len(mark)
                return self.text[begin:found]
            if self.closed or len(self.text) - begin > most + len(mark):
                raise NotACallError
            yield

    def end(self) -> None:
        """To be called where the text ended too early. Raises CutOffError where that is not the model's own doing."""
        if self.cut:
            raise CutOffError


class Reading:
    """A reader at work on a source of its own. result: what it returned, None before."""

    def __init__(self, source: Source, reader: Generator[None, None, Any]) -> None:
        """reader: reads the source."""
        self.source = source
        self.done = False
        self._reader = reader

    def push(self, text: str) -> None:
        """More text."""
        self.source.text += text
        self._go_on()

    def close(self, *, cut: bool = False) -> None:
        """Nothing follows."""
        self.source.closed, self.source.cut = True, cut
        self._go_on()

    def _go_on(self) -> None:
        if not self.done:
            self.done = next(self._reader, self) is self
