"""A reply on standard output, piece by piece: wrapped and with dim thoughts on a terminal, plain elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from types import TracebackType
from typing import Final, Self

from lutmac.cli.word_wrap import WordWrap

_DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"
_OPENING: Final = "<think>\n"  # where nothing can be dim
_CLOSING: Final = "\n</think>\n\n"


class ReplyPrinter:
    """Prints a reply's text and thoughts as they come.

    thoughts: whether they are shown; None: where standard output is a terminal.
    """

    def __init__(self, *, thoughts: bool | None = None, shown: bool = True) -> None:
        """shown: False prints nothing, as under --json."""
        terminal = sys.stdout.isatty()
        self._shown = shown
        self._shows_thoughts = terminal if thoughts is None else thoughts
        self._styled = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._wrap = WordWrap(_columns) if terminal else None
        self._thinking = False
        self._behind_thoughts = False

    def __enter__(self) -> Self:
        """The printer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Prints what was held back, and leaves the terminal as it was."""
        if kind is None or not issubclass(kind, BrokenPipeError):
            self._end_thoughts()
            self._write(self._flushed())

    def thought(self, text: str) -> None:
        """More of what the model thinks."""
        if not self._shows_thoughts:
            return
        if not self._thinking:
            self._thinking = True
            self._write(_DIM if self._styled else _OPENING)
        self._write(self._wrapped(text))

    def text(self, text: str) -> None:
        """More of the reply."""
        self._end_thoughts()
        if self._behind_thoughts:
            text = text.lstrip("\n")
            self._behind_thoughts = not text
        self._write(self._wrapped(text))

    def _end_thoughts(self) -> None:
        if self._thinking:
            self._thinking, self._behind_thoughts = False, True
            self._write(self._flushed() + (_PLAIN + self._wrapped("\n\n") if self._styled else _CLOSING))

    def _wrapped(self, text: str) -> str:
        return text if self._wrap is None else self._wrap.push(text)

    def _flushed(self) -> str:
        return "" if self._wrap is None else self._wrap.flush()

    def _write(self, text: str) -> None:
        if self._shown and text:
            sys.stdout.write(text)
            sys.stdout.flush()


def _columns() -> int:
    return shutil.get_terminal_size().columns - 1  # a full line may end with a line of its own
