"""Calls that are written as in Python: [get_weather(city="Paris")], get_weather.call(city="Paris")."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Final

from lutmac.server.tools.calls import CallWriter
from lutmac.server.tools.lenient_json import more, quoted, value
from lutmac.server.tools.source import NotACallError, Parse, Source

NAME: Final = string.ascii_letters + string.digits + "_.:/-"
_KEY: Final = string.ascii_letters + string.digits + "_"


def python_call(source: Source, calls: CallWriter, name: str, stops: Sequence[str], *, marked: bool) -> Parse[None]:
    """Reads the arguments of a call, whose opening bracket stands here. name: what stood before it.

    Arguments without a name get those of the tool's schema, in order. Raises NotACallError.
    """
    if name not in calls.tools:
        name = name.removesuffix(".call")
    if not name or not (marked or name in calls.tools):
        raise NotACallError
    source.place += 1
    calls.begin(name)
    names = list(calls.tools[name].parameters.get("properties") or ()) if name in calls.tools else []
    calls.add("{")
    count = 0
    while (yield from more(source, ")", stops)):
        key = (yield from _key(source)) or (names[count] if count < len(names) else f"argument_{count + 1}")
        calls.add(f'{", " if count else ""}"{quoted(key)}": ')
        yield from value(source, calls.add, (")", *stops))
        count += 1
    calls.add("}")
    calls.end(source.place)


def _key(source: Source) -> Parse[str]:
    """The name before an argument; "" where it has none."""
    begin = source.place
    key = yield from source.word(_KEY)
    if key and (yield from source.skip()) == "=":
        source.place += 1
        return key
    source.place = begin
    return ""
