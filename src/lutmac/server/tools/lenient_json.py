"""JSON as models write it, rewritten as JSON while it streams.

Understood beside JSON (https://www.rfc-editor.org/rfc/rfc8259): raw newlines and tabs in strings, Python's quotes,
literals, tuples and triple quotes, quotes inside a string that were not escaped, names without quotes, and brackets
that are missing or too many. What is written never has to be taken back. Values come as ``json.dumps`` lays them out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final

from lutmac.server.tools.source import Parse, Source

MAX_DEPTH: Final = 100
MAX_DIGITS: Final = 400  # what reads JSON refuses numbers of thousands
_OPENING: Final = {"{": "}", "[": "]", "(": ")"}
_DELIMITERS: Final = " \t\r\n,:;{}[]()\"'"
_QUOTES: Final = ('"""', "'''", '<|"|>', "“", '"', "'", "`")
_CLOSING_QUOTES: Final = {"“": "”"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_LITERALS: Final = {"True": "true", "False": "false", "None": "null", "undefined": "null"}
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
Write = Callable[[str], None]


def quoted(text: str) -> str:
    """The inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def closed_object(text: str) -> str:
    """JSON of an object that was cut off, with what is open in it closed."""
    written: list[str] = []
    next(value(Source(text or "{}", closed=True), written.append), None)
    return "".join(written)


def value(source: Source, write: Write, stops: Sequence[str] = (), depth: int = 0) -> Parse[None]:
    """Reads a value; writes it as JSON. stops: marks that end it outside of strings."""
    first = yield from source.skip()
    quote = yield from source.starts(_QUOTES)
    if quote:
        write('"')
        yield from string(source, lambda text: write(quoted(text)), stops)
        write('"')
    elif first == "{" and depth < MAX_DEPTH:
        yield from members(source, write, stops, depth)
    elif first in _OPENING and first and depth < MAX_DEPTH:
        yield from _items(source, write, stops, depth)
    else:
        write(_literal((yield from _word(source, stops))))


def members(source: Source, write: Write, stops: Sequence[str] = (), depth: int = 0) -> Parse[None]:
    """Reads an object, whose opening bracket stands here, and writes it."""
    source.place += 1
    write("{")
    separator = ""
    while (yield from more(source, "}", stops)):
        key = yield from name(source, stops)
        write(f'{separator}"{quoted(key)}": ')
        separator = ", "
        if (yield from source.skip()) not in (":", "="):
            source.end()
            write("null")
            continue
        source.place += 1
        yield from value(source, write, stops, depth + 1)
    write("}")


def more(source: Source, closing: str, stops: Sequence[str]) -> Parse[bool]:
    """Whether another item follows; passes over separators, and over the closing bracket where none follows.

    At the end of the reply, at a stop and at a bracket of another kind there is none either.
    """
    following = yield from source.skip(" \t\r\n,;:=")
    if following == closing:
        source.place += 1
        return False
    if not following:
        source.end()
    return bool(following) and following not in "}])" and not (yield from source.starts(stops))


def name(source: Source, stops: Sequence[str]) -> Parse[str]:
    """A key: a string, or a word without quotes."""
    yield from source.skip()
    if (yield from source.starts(_QUOTES)):
        parts: list[str] = []
        yield from string(source, parts.append, stops)
        return "".join(parts)
    return (yield from _word(source, [*stops, "="]))


def string(source: Source, write: Write, stops: Sequence[str] = ()) -> Parse[None]:
    """Reads a string, whose opening quote stands here; writes the text that it stands for.

    A quote that is followed by anything but what may follow a string was meant as part of it.
    """
    quote = yield from source.take(_QUOTES)
    quote = _CLOSING_QUOTES.get(quote, quote)
    surely_ends = len(quote) > 1
    while True:
        end = _plain_end(source, quote[0])
        write(source.text[source.place : end])
        source.place = end
        character = yield from source.peek()
        if not character:
            source.end()
            return
        if character == "\\" and quote != '<|"|>':
            source.place += 1
            write((yield from _escape(source)))
        elif (yield from source.take([quote])):
            if surely_ends or (yield from _ends_here(source, stops)):
                return
            write(quote)
        else:
            source.place += 1
            write(character)


def _plain_end(source: Source, quote: str) -> int:
    """Where the text ends that stands for itself, as far as it is known."""
    places = (source.text.find(character, source.place) for character in (quote, "\\"))
    return min((place for place in places if place >= 0), default=len(source.text))


def _ends_here(source: Source, stops: Sequence[str]) -> Parse[bool]:
    """Whether what stands here may follow a string."""
    begin = source.place
    following = yield from source.skip()
    ends = not following or following in ",:}]" or bool((yield from source.starts(stops)))
    source.place = begin
    return ends


def _escape(source: Source) -> Parse[str]:
    """What stands behind a backslash. An escape that JSON does not have stands for itself, as in Python."""
    character = yield from source.peek()
    if not character:
        source.end()
        return ""
    source.place += 1
    if character not in "ux":
        return _ESCAPES.get(character, "\\" + character)
    code = yield from _code(source, 4 if character == "u" else 2)
    if code is None:
        return "\\" + character
    if 0xD800 <= code < 0xDC00 and (yield from source.take(["\\u"])):
        low = yield from _code(source, 4)
        if low is not None and 0xDC00 <= low < 0xE000:
            return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00))
        return "\ufffd" if low is None else "\ufffd" + _character(low)
    return _character(code)


def _character(code: int) -> str:
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def _code(source: Source, digits: int) -> Parse[int | None]:
    begin = source.place
    while source.place - begin < digits:
        found = yield from source.peek()
        if not found or found not in "0123456789abcdefABCDEF":
            source.place = begin
            return None
        source.place += 1
    return int(source.text[begin : source.place], 16)


def _items(source: Source, write: Write, stops: Sequence[str], depth: int) -> Parse[None]:
    closing = _OPENING[source.text[source.place]]
    source.place += 1
    stops = (")", *stops) if closing == ")" else stops
    write("[")
    separator = ""
    while (yield from more(source, closing, stops)):
        write(separator)
        separator = ", "
        yield from value(source, write, stops, depth + 1)
    write("]")


def _word(source: Source, stops: Sequence[str]) -> Parse[str]:
    """What has no quotes: a number, a literal, or anything else up to what ends a value."""
    begin = source.place
    while True:
        found = yield from source.peek()
        if not found:
            source.end()
        elif source.place == begin and found in _DELIMITERS:
            if found in "{[(":
                source.place += 1  # nested too deep
            return ""
        if not found or found in _DELIMITERS or (yield from source.starts(stops)):
            return source.text[begin : source.place]
        source.place += 1


def _literal(word: str) -> str:
    known = _LITERALS.get(word, word)
    if known in ("true", "false", "null") or (len(known) <= MAX_DIGITS and _NUMBER.fullmatch(known)):
        return known
    try:
        number = float(word)
    except ValueError:
        return f'"{quoted(word)}"' if word else "null"
    if not isfinite(number):
        return "null"
    return json.dumps(int(number) if number.is_integer() else number)
