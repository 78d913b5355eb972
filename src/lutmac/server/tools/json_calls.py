"""Calls that are JSON objects: {"name": …, "arguments": …}, and what comes close to that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lutmac.server.tools.calls import CallWriter
from lutmac.server.tools.lenient_json import Write, members, more, name, string, value
from lutmac.server.tools.source import NotACallError, Parse, Reading, Source

_NAME_KEYS: Final = frozenset({"name", "tool_name", "function", "function_name", "recipient_name"})
_ARGUMENT_KEYS: Final = frozenset({"arguments", "parameters", "args", "input"})
_ID_KEYS: Final = frozenset({"id", "tool_call_id", "call_id"})
_OTHER_KEYS: Final = frozenset({"type", "index"})


def call_object(source: Source, calls: CallWriter, stops: Sequence[str], *, marked: bool) -> Parse[None]:
    """Reads a call, whose opening bracket stands here.

    marked: a mark says that this is a call, so that its name may be unknown and its arguments may be missing; without
    one it may be an answer in JSON. Raises NotACallError.
    """
    found = _CallObject(source, calls, stops, marked=marked)
    yield from found.read()
    found.end()


def arguments(source: Source, write: Write, stops: Sequence[str]) -> Parse[None]:
    """Reads a call's arguments: an object, in a string too; null, "" and [] are none, and "{}" is written.

    Raises NotACallError, before anything is written, for what is no object.
    """
    empty = True

    def pass_on(text: str) -> None:
        nonlocal empty
        empty = False
        write(text)

    first = yield from source.skip()
    if first == "{":
        yield from members(source, pass_on, stops)
    elif first and first in "\"'":
        inside = Source()
        reading = Reading(inside, _embedded(inside, pass_on))
        yield from string(source, reading.push, stops)
        reading.close()
    elif first and first not in "}])":
        other: list[str] = []
        yield from value(source, other.append, stops)
        if "".join(other) not in ("null", "[]", '""'):
            raise NotACallError
    if empty:
        write("{}")


def _embedded(source: Source, write: Write) -> Parse[None]:
    """Arguments that are JSON within JSON."""
    if (yield from source.skip()) == "{":
        yield from members(source, write)
    elif (yield from source.take(["null", "None"])) or not (yield from source.peek()):
        return
    else:
        raise NotACallError


class _CallObject:
    """A call as far as it is known. Arguments that come before the name are kept until it is known."""

    def __init__(self, source: Source, calls: CallWriter, stops: Sequence[str], *, marked: bool) -> None:
        self._source = source
        self._calls = calls
        self._stops = stops
        self._marked = marked
        self._name: str | None = None
        self._id: str | None = None
        self._begun = False
        self._kept: list[str] = []
        self._has_arguments = False

    def read(self) -> Parse[None]:
        """Reads the object."""
        source, stops = self._source, self._stops
        source.place += 1
        while (yield from more(source, "}", stops)):
            key = yield from name(source, stops)
            if (yield from source.skip()) not in (":", "="):
                source.end()
                raise NotACallError
            source.place += 1
            yield from self._member(key, (yield from source.skip()))

    def end(self) -> None:
        """The object has ended. Raises NotACallError where it was no call."""
        if not self._begun:
            if not (self._marked or self._has_arguments):
                raise NotACallError
            self._begin()
            self._calls.add("".join(self._kept) or "{}")
        self._calls.end(self._source.place)

    def _member(self, key: str, following: str) -> Parse[None]:
        quoted = following != "" and following in "\"'"
        if key == "function" and following == "{":
            yield from self.read()
        elif key in _NAME_KEYS and self._name is None and quoted:
            self._name = yield from name(self._source, self._stops)
        elif key in _ARGUMENT_KEYS and not self._has_arguments:
            yield from self._take_arguments()
        elif key in _ID_KEYS and quoted:
            self._id = yield from name(self._source, self._stops)
        elif key in self._calls.tools and following == "{" and self._name is None:
            self._name = key  # {"get_weather": {"city": "Paris"}}
            yield from self._take_arguments()
        elif self._marked or self._begun or key in _OTHER_KEYS:
            yield from value(self._source, lambda _: None, self._stops)
        else:
            raise NotACallError

    def _take_arguments(self) -> Parse[None]:
        if self._name is not None:
            self._checked_name()
        yield from arguments(self._source, self._write, self._stops)
        self._has_arguments = True

    def _write(self, text: str) -> None:
        if self._name is None:
            self._kept.append(text)
            return
        if not self._begun:
            self._begin()
        self._calls.add(text)

    def _begin(self) -> None:
        self._calls.begin(self._checked_name(), self._id)
        self._begun = True

    def _checked_name(self) -> str:
        if not self._name or not (self._marked or self._name in self._calls.tools):
            raise NotACallError
        return self._name
