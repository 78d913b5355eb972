"""Text on a terminal: words stay whole, and nothing in it can steer the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

_FENCES: Final = ("```", "~~~")
_TAB: Final = 8
_REPLACEMENT: Final = "\ufffd"


class WordWrap:
    """Breaks lines between words while the text is still coming.

    A word is held until it has ended. Lines between fences of code are left as they are, so that they can be copied.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        """width: of the terminal, in columns; asked for at every word."""
        self._width = width
        self._column = 0
        self._gap = ""  # white space that is printed only where the next word stays on the line
        self._word = ""
        self._line = ""  # of the text, as far as it is needed to tell a fence
        self._fenced = False

    def push(self, text: str) -> str:
        """What can be printed now."""
        return "".join(self._character(character) for character in text)

    def flush(self) -> str:
        """The rest; the next text goes on behind it."""
        return self._place_word()

    def _character(self, character: str) -> str:
        if character == "\n":
            return self._end_line()
        if character != "\t" and unicodedata.category(character) == "Cc":
            character = _REPLACEMENT
        if len(self._line) < _TAB:
            self._line += character
        if self._fenced:
            return character
        if character in " \t":
            placed = self._place_word()
            self._gap += " " * (_TAB - self._column % _TAB) if character == "\t" else character
            return placed
        if character_width(character) == 2:  # such scripts have no spaces: lines break anywhere
            placed = self._place_word()
            self._word = character
            return placed + self._place_word()
        self._word += character
        return ""

    def _end_line(self) -> str:
        placed = self._place_word()
        if self._line.lstrip().startswith(_FENCES):
            self._fenced = not self._fenced
        self._column, self._gap, self._line = 0, "", ""
        return placed + "\n"

    def _place_word(self) -> str:
        """The word with what stands before it: its gap, or the end of the line."""
        word, self._word = self._word, ""
        if not word:
            return ""
        gap, self._gap = self._gap, ""
        width, least = sum(map(character_width, word)), max(2, self._width())
        if not self._column or self._column + len(gap) + width <= least:
            self._column += len(gap) + width
            return gap + word
        self._column = width
        return "\n" + word


def character_width(character: str) -> int:
    """Columns that a character takes on a terminal."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
