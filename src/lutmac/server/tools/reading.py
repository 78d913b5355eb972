"""Calls in whatever way they are written: what stands here decides how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lutmac.server.tools.calls import CallWriter
from lutmac.server.tools.families import CLOSINGS, OPENINGS
from lutmac.server.tools.json_calls import arguments, call_object
from lutmac.server.tools.python_calls import NAME, python_call
from lutmac.server.tools.source import BLANKS, NotACallError, Parse, Source
from lutmac.server.tools.tagged_calls import FUNCTION_ENDS, FUNCTION_TAGS, keyed_call, tagged_call

_FENCE: Final = "```"
_MARKS: Final = tuple(
    text for text, opening in OPENINGS.items() if not opening.at_line and not text.startswith(FUNCTION_TAGS)
)
STOPS: Final = (*CLOSINGS, *(mark for mark in _MARKS if mark != "functools["), _FENCE)
"""What ends a value outside of strings."""
_BEFORE_ARGUMENTS: Final = ("[ARGS]", "<|tool_call_argument_begin|>", "<｜tool▁sep｜>")


def read_calls(source: Source, calls: CallWriter, *, sure: bool) -> Parse[None]:
    """Reads calls that follow one another without text between them, with the marks around them.

    sure: they are calls whatever their names. ``calls.last_end`` is behind the last one. Raises NotACallError where
    something follows that is none, the first time too.
    """
    listed = fenced = False
    while True:
        while True:  # what stands before a call
            following = yield from source.skip(BLANKS + ",;")
            mark = yield from source.take(_MARKS)
            sure = sure or (mark in OPENINGS and OPENINGS[mark].sure)
            if mark:
                listed = listed or mark == "functools["
            elif following == "[":
                source.place += 1
                listed = True
            elif following == "`" and not fenced:
                yield from _fence(source)
                fenced = True
            elif not (yield from source.take(["Action:"])):
                break
        yield from _one(source, calls, following, sure=sure)
        if (yield from _closed(source, calls)):
            return
        if not (listed or fenced or (yield from source.skip()) in (",", ";")):
            return


def _one(source: Source, calls: CallWriter, following: str, *, sure: bool) -> Parse[None]:
    """Reads a call that begins here."""
    if following == "{":
        yield from call_object(source, calls, STOPS, marked=sure)
    elif (yield from source.starts(FUNCTION_TAGS)):
        yield from tagged_call(source, calls, STOPS, marked=sure)
    elif following and following in NAME:
        name = yield from source.word(NAME)
        if name == "function" and (yield from source.take(["<｜tool▁sep｜>"])):
            name = yield from source.word(NAME)
        yield from _named(source, calls, name, sure=sure)
    else:
        if not following:
            source.end()
        raise NotACallError


def _named(source: Source, calls: CallWriter, name: str, *, sure: bool) -> Parse[None]:
    """Reads a call of which the name has been read."""
    if (yield from source.peek()) == "(":
        yield from python_call(source, calls, name, STOPS, marked=sure)
        return
    id = None
    if name not in calls.tools:
        id = name if name.startswith("functions.") else None
        name = _bare(name)
    if not (sure or name in calls.tools):
        raise NotACallError
    yield from source.skip()
    if (yield from source.take(["[CALL_ID]"])):
        id = yield from source.word(NAME)
    marked = yield from source.take(_BEFORE_ARGUMENTS)
    following = yield from source.skip()
    if (yield from source.starts(["<arg_key>", "</tool_call>"] if name in calls.tools else ["<arg_key>"])):
        yield from keyed_call(source, calls, name, STOPS)
        return
    if following == "`":
        yield from _fence(source)
        following = yield from source.skip()
    if following != "{":
        if not following:
            source.end()
        if not marked:
            raise NotACallError
    calls.begin(name, id)
    yield from arguments(source, calls.add, STOPS)
    calls.end(source.place)


def _bare(name: str) -> str:
    """The name in functions.NAME:0 and in call:NAME."""
    name = name.removeprefix("call:")
    if name.startswith("functions."):
        name = name.removeprefix("functions.").partition(":")[0]
    return name


def _closed(source: Source, calls: CallWriter) -> Parse[bool]:
    """Passes over what closes a call, brackets that are too many included; whether nothing can follow."""
    closings: Sequence[str] = (*CLOSINGS, *FUNCTION_ENDS, _FENCE)
    done = False
    while True:
        following = yield from source.skip()
        if following and following in "}])":
            source.place += 1
            done = done or following == "]"
        else:
            mark = yield from source.take(closings)
            if not mark:
                return done or not following
            done = True
        calls.last_end = source.place


def _fence(source: Source) -> Parse[None]:
    """Passes over the line that opens a block of code."""
    if not (yield from source.take([_FENCE])):
        raise NotACallError
    yield from source.word(NAME)
