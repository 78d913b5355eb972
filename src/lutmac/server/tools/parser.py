"""A reply taken apart while it streams: thoughts, text and calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lutmac.server.tools.calls import CallArguments, CallWriter, Part, Text, Thought, Tool
from lutmac.server.tools.families import OPENINGS, Family
from lutmac.server.tools.harmony import harmony_reply
from lutmac.server.tools.reading import read_calls
from lutmac.server.tools.source import BLANKS, CutOffError, NotACallError, Parse, Reading, Source
from lutmac.server.tools.thoughts import WRAPPERS, ThoughtMarks

_SURE: Final = tuple(text for text, opening in OPENINGS.items() if opening.sure)
_ANYWHERE: Final = tuple(text for text, opening in OPENINGS.items() if not opening.at_line)
_PLAIN: Final = re.compile(rf"[^\s{re.escape(''.join({text[0] for text in OPENINGS}))}]+")  # begins no call


class ReplyParser:
    """Parts a reply into thoughts, text and calls.

    Each passes as soon as it is certain, the arguments of a call piece by piece. What begins like a call and is none
    passes as text. The parts do not depend on where the stream was cut, but for the places at which they are.
    """

    def __init__(
        self,
        family: Family,
        tools: Mapping[str, Tool],
        marks: tuple[ThoughtMarks, ...],
        *,
        thinking: ThoughtMarks | None = None,
        continued: bool = False,
    ) -> None:
        """tools: those offered, by name; without any there are no calls.

        marks: those that may open thoughts. thinking: those that the prompt has opened. continued: the reply goes on
        with a message that the prompt holds the beginning of.
        """
        self._marks = marks
        self._thinking = thinking
        self._parts: list[Part] = []
        self._source = source = Source()
        self._calls = CallWriter(tools, family.new_id, self._parts.append)
        self._starts = (*OPENINGS, *(f"{name}{sign}" for name in tools for sign in (".call(", "\n{")))
        self._blanks = ""  # held: they are no text if a call follows
        self._wrapper_end = ""
        self._begun = continued
        reader = (
            harmony_reply(source, self._parts.append, self._calls, headed=not continued)
            if family.name == "harmony"
            else self._read()
        )
        self._reading = Reading(source, reader)

    def push(self, text: str) -> list[Part]:
        """What the text makes certain."""
        self._reading.push(text)
        return self._taken()

    def close(self, *, cut: bool = False) -> list[Part]:
        """What is left when the reply has ended. cut: not of itself, so that a call may be incomplete."""
        try:
            self._reading.close(cut=cut)
        except CutOffError:
            self._calls.end(len(self._source.text))
        return self._taken()

    def _taken(self) -> list[Part]:
        parts = _merged(self._parts)
        self._parts.clear()
        return parts

    def _read(self) -> Parse[None]:
        if self._thinking is not None:
            yield from self._thoughts(self._thinking)
        thought = self._thinking is not None
        while (yield from self._open_thoughts(thought=thought)):
            thought = True
        if self._calls.tools:
            yield from self._text_and_calls()
        while (yield from self._source.peek()):
            yield from self._text()
        if not self._calls.called and (self._begun or not thought):
            self._write(Text(self._blanks))

    def _open_thoughts(self, *, thought: bool) -> Parse[bool]:
        """Thoughts before the answer. Passes over what stands around the answer."""
        source = self._source
        begin = source.place
        yield from source.skip()
        opening = yield from source.take([marks.opening for marks in self._marks])
        if opening:
            yield from self._thoughts(next(marks for marks in self._marks if marks.opening == opening))
            return True
        if (yield from source.take([marks.closing for marks in self._marks])):
            return True  # of thoughts that were not opened
        wrapper = yield from source.take([start for start in WRAPPERS if thought or start.startswith("<|")])
        if wrapper:
            self._wrapper_end = WRAPPERS[wrapper]
            yield from source.skip()
        elif not thought:
            source.place = begin
        return False

    def _thoughts(self, around: ThoughtMarks) -> Parse[None]:
        source, closing = self._source, around.closing
        yield from source.skip()
        blanks = f"{around.opening}\n" if around.spoken else ""
        marks = _SURE if self._calls.tools else ()
        beginning = re.compile(rf"[<\[{re.escape(closing[0])}]")
        while (yield from source.peek()) and not (yield from source.take([closing])):
            if (yield from source.starts(marks)) and not (yield from self._closes(closing)):
                return
            found = beginning.search(source.text, source.place + 1)
            text = source.text[source.place : found.start() if found else None]
            shown = text.rstrip()
            if shown:
                self._write(Thought(blanks + shown))
                blanks = ""
            blanks += text[len(shown) :]
            source.place += len(text)
            source.forget()

    def _closes(self, closing: str) -> Parse[bool]:
        """Whether the closing mark is still to come. Some models call without having ended their thoughts."""
        source = self._source
        looked = source.place
        while (found := source.text.find(closing, looked)) < 0 and not source.closed:
            looked = max(looked, len(source.text) - len(closing))
            yield
        return found >= 0

    def _text_and_calls(self) -> Parse[None]:
        """Text up to the end, with the calls in it; stops where a call was cut off in its name."""
        source, at_line = self._source, True
        while True:
            source.forget()
            blanks = yield from source.word(BLANKS)
            self._blanks += blanks
            at_line = at_line or "\n" in blanks
            if not (yield from source.peek()):
                return
            mark = yield from source.starts(self._starts if at_line else _ANYWHERE)
            if not mark:
                yield from self._text()
            elif (yield from self._read_calls(mark)):
                self._blanks = ""
            elif source.cut:
                return
            else:
                self._pass(source.text[source.place])
            at_line = False

    def _read_calls(self, mark: str) -> Parse[bool]:
        """Whether there are calls; if not, nothing was read."""
        source, calls = self._source, self._calls
        begin = source.place
        calls.last_end = -1
        try:
            yield from read_calls(source, calls, sure=mark in OPENINGS and OPENINGS[mark].sure)
        except NotACallError:
            pass
        except CutOffError:
            if calls.open:
                calls.end(len(source.text))
        source.place = begin if calls.last_end < 0 else calls.last_end
        return calls.last_end >= 0

    def _text(self) -> Parse[None]:
        """Text up to what may begin something else."""
        source = self._source
        if self._wrapper_end and (yield from source.take([self._wrapper_end])):
            return
        found = _PLAIN.match(source.text, source.place)
        self._pass(found[0] if found else source.text[source.place])

    def _pass(self, text: str) -> None:
        self._source.place += len(text)
        if not text.isspace():
            self._write(Text(self._blanks + text))
            self._blanks = ""
            self._begun = True
        else:
            self._blanks += text

    def _write(self, part: Text | Thought) -> None:
        if part.text:
            self._parts.append(part)


def _merged(parts: list[Part]) -> list[Part]:
    """The parts, pieces of one thing joined."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, Text | Thought | CallArguments) and type(last) is type(part):
            assert isinstance(last, Text | Thought | CallArguments)
            found[-1] = type(part)(last.text + part.text)
        else:
            found.append(part)
    return found
