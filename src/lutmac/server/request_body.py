"""Turns the bytes of a request's body into the JSON value that endpoints read. It is done only here.

In the result all numbers are finite, texts are valid Unicode, and there are at most MAX_DEPTH levels. So no endpoint
gets a value that JSON cannot express.
"""

from __future__ import annotations

import json
import re
import zlib
from contextlib import suppress
from math import isfinite
from typing import Any, Final

from lutmac.server.errors import ApiError
from lutmac.server.patient_json import PatientDecoder, WrongValueError

MAX_VALUES: Final = 1 << 16  # beside numbers: what a value becomes takes hundreds of bytes, and its errors more
SHORT_TEXT: Final = 32 << 10  # characters: read in less than a millisecond, whatever they are
MAX_DEPTH: Final = 128  # no client's request is a tenth as deep, and everything that walks through one has room
ENCODINGS: Final = ("gzip", "deflate")
# In these a half of a surrogate pair, as programs make by cutting a text in two, becomes U+FFFD. Anywhere else it is
# refused: a schema or a name would mean something else.
_TEXTS: Final = frozenset({
    "messages", "prompt", "suffix", "input", "instructions", "system", "content", "documents", "query",
    "input_prefix", "input_suffix", "input_extra",
})  # fmt: skip
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def check_encoding(encoding: bytes) -> None:
    """Raises ApiError (415) for a Content-Encoding that is not supported."""
    if encoding and _name(encoding) not in (*ENCODINGS, "identity"):
        given = encoding[:40].decode("latin-1")
        message = f"bodies in the encoding {given!r} are not read: send {' or '.join(ENCODINGS)}, or none"
        raise ApiError(415, message, more_headers={"Accept-Encoding": ", ".join(ENCODINGS)})


def decompressed(data: bytes, encoding: bytes, most: int) -> bytes:
    """The decompressed body. most: bytes that it may have.

    Raises ApiError: 413 if it has more, 400 if it is not in that encoding, 415 for an encoding that is not supported.
    """
    check_encoding(encoding)
    name = _name(encoding)
    if name not in ENCODINGS or not data:
        return data
    found = bytearray()
    try:
        if name == "gzip":
            while data:  # a file may be several, one behind the other
                data = _inflate(data, _GZIP, found, most)
        else:
            # RFC 9110 means zlib's format; some clients leave its head and checksum out.
            _inflate(data, _ZLIB if _is_zlib(data) else _RAW_DEFLATE, found, most)
    except zlib.error:
        raise ApiError(400, f"the body is not valid {name}", code="invalid_encoding") from None
    return bytes(found)


def too_large(most: int) -> ApiError:
    """The error of a body that is too long."""
    return ApiError(413, f"the body has more than {most} bytes; the server's --max-body says how many it may")


def read_json(data: bytes) -> Any:
    """The value of JSON text in UTF-8 (or 16 or 32), with or without a byte order mark.

    Raises ApiError (400), which names the place, for text that is not JSON, has too many levels, or has a number or a
    text that JSON cannot express.
    """
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        value = _value(text)
    except RecursionError:
        raise _too_deep("") from None
    except WrongValueError as error:
        if not error.path:
            raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
        raise _invalid(_place(error.path), str(error)) from None
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not valid JSON in UTF-8", code="invalid_json") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, f"the body is not valid JSON: {error.msg} at {where}", code="invalid_json") from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise ApiError(400, f"the body is not valid JSON: {str(error)[:100]}", code="invalid_json") from None
    surrogates = not data.isascii() or (b"\\u" in data and (b"\\ud" in data or b"\\uD" in data))
    try:
        return _Check(surrogates).checked(value, 0, "")
    except WrongValueError as error:
        place = _place(error.path)
        if str(error) == _DEEP:
            raise _too_deep(place) from None
        raise _invalid(place, str(error)) from None


def _value(text: str) -> Any:
    if len(text) <= SHORT_TEXT:
        with suppress(WrongValueError):  # whose place the other reader knows
            return json.loads(text, parse_constant=_no_constant)
    return PatientDecoder(MAX_VALUES, parse_constant=_no_constant).decode(text)


_DEEP: Final = "too deep"

_TO_CHECK: Final = frozenset({str, float, dict, list})


class _Check:
    """Checks a value once. surrogates: whether texts may contain halves of surrogate pairs."""

    def __init__(self, surrogates: bool) -> None:
        self._surrogates = surrogates
        self._left = MAX_VALUES

    def checked(self, value: Any, depth: int, field: str) -> Any:
        """The value, with halves of surrogate pairs in texts replaced. field: the field of the body that it is in."""
        kind = type(value)
        if kind is str:
            return self._text(value, field) if self._surrogates and not value.isascii() else value
        if kind is float and not isfinite(value):
            raise WrongValueError("the number is beyond what a float holds")
        if kind is not dict and kind is not list:
            return value
        if depth == MAX_DEPTH:
            raise WrongValueError(_DEEP)
        for key, item in value.items() if kind is dict else enumerate(value):
            if type(item) is int and kind is list:
                continue  # token ids come by the hundred thousand
            try:
                self._count(key)
                checked = self.checked(item, depth + 1, field or str(key)) if type(item) in _TO_CHECK else item
            except WrongValueError as error:
                error.path.append(key)
                raise
            if checked is not item:
                value[key] = checked
        return value

    def _count(self, key: str | int) -> None:
        self._left -= 1
        if self._left < 0:
            raise WrongValueError(f"the body holds more than {MAX_VALUES} values beside numbers in lists")
        if self._surrogates and isinstance(key, str) and _SURROGATE.search(key):
            raise WrongValueError("a name holds half of a surrogate pair")

    def _text(self, text: str, field: str) -> str:
        if not _SURROGATE.search(text):
            return text
        if field not in _TEXTS:
            raise WrongValueError("the text holds half of a surrogate pair")
        return _SURROGATE.sub("\ufffd", text)


def _inflate(data: bytes, format: int, found: bytearray, most: int) -> bytes:
    """Appends the decompressed data and returns what follows it. Never produces more than the limit."""
    stream = zlib.decompressobj(format)
    found += stream.decompress(data, most + 1 - len(found))
    if len(found) > most:
        raise too_large(most)
    if not stream.eof:
        raise zlib.error("it ends in the middle")
    return stream.unused_data


def _is_zlib(data: bytes) -> bool:
    """Whether the first two bytes are a head of zlib's (RFC 1950)."""
    return len(data) >= 2 and data[0] & 0x0F == zlib.DEFLATED and (data[0] << 8 | data[1]) % 31 == 0


def _name(encoding: bytes) -> str:
    return encoding.decode("latin-1").strip().lower().removeprefix("x-")


def _no_constant(name: str) -> Any:
    raise WrongValueError(f"{name} is no JSON")


def _too_deep(place: str) -> ApiError:
    message = f"the body nests more than {MAX_DEPTH} levels deep{f' at {place}' if place else ''}"
    return ApiError(400, message, code="invalid_json", param=place or None)


def _invalid(place: str, reason: str) -> ApiError:
    return ApiError(400, f"Invalid '{place}': {reason}.", code="invalid_value", param=place)


def _place(path: list[str | int]) -> str:
    """``messages[0].content``; short and printable, whatever the names are."""
    place = ""
    for part in reversed(path):
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return ascii(place[:100])[1:-1]
