"""Renders a chat in its forms: closed, with the beginning of a reply, or up to the end of a message that goes on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lutmac.errors import InvalidRequestError, LutmacError
from lutmac.text.chat_fitting import Message
from lutmac.text.foreign_text import ForeignText
from lutmac.text.rendered import Rendered

_LONGEST_BEGINNING: Final = 2000  # characters with which a template begins a reply


class Renders(Protocol):
    """A template."""

    def render_places(self, messages: Sequence[Message], *, add_generation_prompt: bool, **inputs: Any) -> Rendered:
        """The prompt as text, and where its messages lie."""


class ChatWriter:
    """Renders a chat in which what users wrote is marked."""

    def __init__(self, template: Renders, foreign: ForeignText, inputs: Mapping[str, Any]) -> None:
        """foreign: does the marking. inputs: more variables for the template."""
        self._template = template
        self._foreign = foreign
        self._inputs = foreign.mark(inputs)

    def closed(self, messages: Sequence[Message]) -> Rendered:
        """The chat alone."""
        return self._render(self._foreign.mark(messages), add_generation_prompt=False)

    def begun(self, messages: Sequence[Message]) -> tuple[Rendered, str]:
        """The chat with the beginning of a reply, and that beginning: empty where the template writes none."""
        marked = self._foreign.mark(messages)
        begun = self._render(marked, add_generation_prompt=True)
        try:
            closed = self._render(marked, add_generation_prompt=False).text
        except LutmacError:  # a template that cannot but begin a reply
            return begun, ""
        rendered = begun.text
        if rendered.startswith(closed):
            return begun, rendered[len(closed) :]
        lengths = range(min(len(rendered), len(closed)) + 1)
        return begun, rendered[bisect_left(lengths, True, key=lambda n: rendered[:n] != closed[:n]) - 1 :]

    def beginnings(self, messages: Sequence[Message]) -> set[str]:
        """With what the template begins the replies among the messages, as it writes that for a reply to come.

        It may depend on what a reply follows, a question or the result of a call.
        """
        places: dict[str, int] = {}
        for place, message in enumerate(messages[1:], 1):
            if message["role"] == "assistant":
                places.setdefault(messages[place - 1]["role"], place)
        found = set()
        for place in places.values():
            with suppress(LutmacError):
                rendered, beginning = self.begun(messages[:place])
                found |= {beginning, rendered.tail}
        return found

    def continued(self, messages: Sequence[Message], thought_key: str) -> tuple[Rendered, str]:
        """The chat up to the end of the last message's text or, where it has none, thoughts; and how that ends.

        A mark behind the text tells the place, as in transformers. Where the template leaves that out, the text follows
        the usual beginning of a reply.
        """
        *before, last = messages
        part = _LastPart(last, "content" if _text_of(last.get("content")) or not last.get(thought_key) else thought_key)
        marked = _LastPart(self._foreign.mark(last), part.key)
        mark = self._foreign.new_mark() + " "
        try:
            rendered = self._render([*self._foreign.mark(before), marked.with_end(mark)], add_generation_prompt=False)
        except InvalidRequestError:
            rendered = Rendered("")
        text, found, behind = rendered.text.rpartition(mark.strip())
        if found:
            rendered = rendered.cut(len(text if behind.startswith(" ") else text.rstrip()))
        else:
            rendered = self.begun(before)[0] if before else Rendered("")
            rendered = rendered.followed_by("assistant", marked.text)
        text = rendered.text
        return rendered, part.text if part.key == "content" else text[-len(part.text) - _LONGEST_BEGINNING :]

    def _render(self, marked: Sequence[Message], *, add_generation_prompt: bool) -> Rendered:
        return self._template.render_places(marked, add_generation_prompt=add_generation_prompt, **self._inputs)


@dataclass(frozen=True)
class _LastPart:
    """What a continued message ends with: the text under a key."""

    message: Message
    key: str

    @property
    def text(self) -> str:
        return _text_of(self.message.get(self.key))

    def with_end(self, mark: str) -> Message:
        """The message with a mark behind the text."""
        value = self.message.get(self.key)
        if isinstance(value, list) and value:
            return {**self.message, self.key: [*value[:-1], {**value[-1], "text": self.text + mark}]}
        return {**self.message, self.key: self.text + mark}


def _text_of(content: Any) -> str:
    if isinstance(content, list) and content and isinstance(content[-1], Mapping):
        content = content[-1].get("text")
    return content if isinstance(content, str) else ""
