"""Harmony, in which a reply is messages in channels: analysis is thoughts, a recipient makes a call.

https://github.com/openai/harmony
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from lutmac.server.tools.calls import CallWriter, Part, Text, Thought
from lutmac.server.tools.json_calls import arguments
from lutmac.server.tools.source import NotACallError, Parse, Source

MARKS: Final = ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|return|>", "<|call|>")
_HEADER: Final = ("<|start|>", "<|channel|>", "<|constrain|>", "to=")
_ENDS: Final = ("<|start|>", "<|channel|>", "<|end|>", "<|return|>", "<|call|>")
_MAX_HEADER: Final = 1000


def harmony_reply(source: Source, write: Callable[[Part], None], calls: CallWriter, *, headed: bool) -> Parse[None]:
    """Reads a reply. headed: it begins with a message's header, or else within a message's text."""
    if not headed:
        yield from _body(source, lambda text: write(Text(text)))
    while (yield from source.skip()):
        yield from _message(source, write, calls)


def _message(source: Source, write: Callable[[Part], None], calls: CallWriter) -> Parse[None]:
    header = ""
    mark = yield from source.starts(_HEADER)
    if mark:
        begin = source.place
        try:
            header = yield from source.until("<|message|>", _MAX_HEADER)
        except NotACallError:
            source.place = begin + len(mark)  # no header, or one that was cut off
    channel = (re.findall(r"<\|channel\|>\s*(\w+)", header) or ["final"])[-1]
    recipient = (re.findall(r"to=([\w.:/-]+)", header) or [""])[-1]
    if recipient and recipient not in ("assistant", "user", "all"):
        yield from _call(source, calls, recipient.removeprefix("functions."))
    elif channel == "analysis":
        yield from _body(source, lambda text: write(Thought(text)))
    else:
        yield from _body(source, lambda text: write(Text(text)))


def _call(source: Source, calls: CallWriter, name: str) -> Parse[None]:
    """A call; one of a tool that was not offered is passed over."""
    if name in calls.tools and (yield from source.skip()) == "{":
        calls.begin(name)
        yield from arguments(source, calls.add, _ENDS)
        calls.end(source.place)
    yield from _body(source, lambda _: None)


def _body(source: Source, write: Callable[[str], None]) -> Parse[None]:
    """A message's text, up to what ends it."""
    while (yield from source.peek()):
        mark = yield from source.starts(_ENDS)
        if mark:
            if mark not in _HEADER:
                source.place += len(mark)
            return
        next_mark = source.text.find("<", source.place + 1)
        end = next_mark if next_mark >= 0 else len(source.text)
        write(source.text[source.place : end])
        source.place = end
        source.forget()
