"""Reads JSON value by value, so that other threads get the interpreter in between.

Python's own reader keeps the interpreter until it has read the whole text: a million values take a tenth of a second,
in which the server answers nobody. Reading value by value takes several times as long, and ends if there are too many
values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json import decoder, scanner
from typing import Any, Final

# Of a list, so many integers as are read together in a fraction of a millisecond; something has to follow them.
_INTEGERS: Final = re.compile(r"(?:[ \t\n\r]*-?(?:0|[1-9][0-9]{0,17})[ \t\n\r]*,){8,1024}(?=[ \t\n\r]*[-0-9\"\[{tfn])")

Scan = Callable[[str, int], tuple[Any, int]]


_KEY: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t\n\r]*:[ \t\n\r]*$', re.DOTALL)
_LONGEST_KEY: Final = 200  # characters, of which more is told than anybody reads


class WrongValueError(Exception):
    """A value that is not accepted. path: where it is, the innermost name first; callers add to it."""

    def __init__(self, reason: str) -> None:
        """reason: what is wrong with it."""
        super().__init__(reason)
        self.path: list[str | int] = []


class PatientDecoder(json.JSONDecoder):
    """Reads one text. Input, output and errors are those of ``json.loads``."""

    def __init__(self, most_values: int, **options: Any) -> None:
        """most_values: in all lists and objects, except integers in lists. options: of JSONDecoder.

        Raises WrongValueError, with its path, for more values, and if a hook of the options raises it.
        """
        super().__init__(**options)
        self._most = self._left = most_values
        self.parse_object = self._object
        self.parse_array = self._array
        self.scan_once: Scan = scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _array(self, text_and_end: tuple[str, int], scan: Scan) -> tuple[list[Any], int]:
        text, place = text_and_end
        integers: list[Any] = []
        while (found := _INTEGERS.match(text, place)) is not None:
            integers += json.loads(f"[{found[0][:-1]}]")
            place = found.end()
        index = len(integers)

        def counted(text: str, place: int) -> tuple[Any, int]:
            nonlocal index
            try:
                found = scan(text, place)
                if type(found[0]) is not int:
                    self._count()
            except WrongValueError as error:
                error.path.append(index)
                raise
            index += 1
            return found

        others, end = decoder.JSONArray((text, place), counted)  # type: ignore[attr-defined]
        return [*integers, *others] if integers else others, end

    def _object(self, text_and_end: tuple[str, int], strict: bool, scan: Scan, *more: Any) -> Any:
        def counted(text: str, place: int) -> tuple[Any, int]:
            try:
                self._count()
                return scan(text, place)
            except WrongValueError as error:
                key = _KEY.search(text[max(0, place - _LONGEST_KEY) : place])
                error.path.append(key[1] if key is not None else "...")
                raise

        return decoder.JSONObject(text_and_end, strict, counted, *more)  # type: ignore[attr-defined]

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WrongValueError(f"the body holds more than {self._most} values beside numbers in lists")
