"""Calls whose arguments stand between tags of their own.

<function=NAME><parameter=KEY>value</parameter></function> (Qwen3-Coder), <invoke name="NAME"><parameter name="KEY">
(MiniMax, DeepSeek 3.2), NAME<arg_key>KEY</arg_key><arg_value>value</arg_value> (GLM).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lutmac.server.tools.calls import CallWriter
from lutmac.server.tools.json_calls import arguments
from lutmac.server.tools.lenient_json import quoted
from lutmac.server.tools.source import NotACallError, Parse, Source
from lutmac.server.tools.tagged_values import Parameters, tagged_value

FUNCTION_TAGS: Final = ("<function=", '<function name="', '<invoke name="', '<｜DSML｜invoke name="')
FUNCTION_ENDS: Final = ("</function>", "</invoke>", "</｜DSML｜invoke>")
_PARAMETER_TAGS: Final = ("<parameter=", '<parameter name="', '<param name="', '<｜DSML｜parameter name="')
_PARAMETER_ENDS: Final = ("</parameter>", "</param>", "</｜DSML｜parameter>")
_TAG: Final = re.compile(
    r'<(?:｜DSML｜)?(?:function|invoke|param(?:eter)?)(?:=| name=)"?(?P<name>[^">\n]+?)"?'
    r'(?: string="(?P<string>true|false)")?\s*>'
)


def tagged_call(source: Source, calls: CallWriter, stops: Sequence[str], *, marked: bool) -> Parse[None]:
    """Reads a call, of which the opening tag stands here. Raises NotACallError."""
    tag = yield from _tag(source)
    name = tag["name"].strip()
    if not (marked or name in calls.tools):
        raise NotACallError
    calls.begin(name)
    if (yield from source.skip()) == "{":
        yield from arguments(source, calls.add, (*stops, *FUNCTION_ENDS))
    else:
        yield from _parameters(source, calls, name, stops)
    yield from source.skip()
    yield from source.take(FUNCTION_ENDS)
    calls.end(source.place)


def keyed_call(source: Source, calls: CallWriter, name: str, stops: Sequence[str]) -> Parse[None]:
    """Reads a call's arguments as GLM writes them; the first tag of one stands here, or it has none."""
    calls.begin(name)
    parameters = Parameters(calls.tools.get(name))
    written = 0
    while True:
        yield from source.skip()
        if not (yield from source.take(["<arg_key>"])):
            break
        key = (yield from _up_to(source, "</arg_key>")).strip()
        calls.add(f'{", " if written else "{"}"{quoted(key)}": ')
        written += 1
        yield from source.skip()
        yield from source.take(["<arg_value>"])
        yield from tagged_value(source, calls.add, parameters.kinds(key), ("</arg_value>",), ("<arg_key>", *stops))
    _end(source, calls, written)
    calls.end(source.place)


def _parameters(source: Source, calls: CallWriter, name: str, stops: Sequence[str]) -> Parse[None]:
    parameters = Parameters(calls.tools.get(name))
    following = (*_PARAMETER_TAGS, *FUNCTION_ENDS, *stops)
    written = 0
    while True:
        yield from source.skip()
        if not (yield from source.starts(_PARAMETER_TAGS)):
            break
        begin = source.place
        try:
            tag = yield from _tag(source)
        except NotACallError:
            source.place = begin
            break
        calls.add(f'{", " if written else "{"}"{quoted(tag["name"].strip())}": ')
        written += 1
        kinds = parameters.kinds(tag["name"].strip(), says_string=tag["string"])
        yield from tagged_value(source, calls.add, kinds, _PARAMETER_ENDS, following)
    _end(source, calls, written)


def _end(source: Source, calls: CallWriter, written: int) -> None:
    if source.place >= len(source.text):
        source.end()
    calls.add("}" if written else "{}")


def _up_to(source: Source, mark: str) -> Parse[str]:
    """The text before the mark; nothing where it does not come."""
    try:
        return (yield from source.until(mark))
    except NotACallError:
        source.end()
        return ""


def _tag(source: Source) -> Parse[re.Match[str]]:
    begin = source.place
    yield from source.until(">")
    found = _TAG.fullmatch(source.text, begin, source.place)
    if found is None:
        raise NotACallError
    return found
