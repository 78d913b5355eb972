"""Tools, calls of them, and the pieces in which a reply is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. parameters: a JSON schema of its arguments."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]

    def as_template_input(self) -> dict[str, Any]:
        """As chat templates expect it."""
        function: dict[str, Any] = {"name": self.name, "description": self.description or ""}
        return {"type": "function", "function": {**function, "parameters": self.parameters}}


@dataclass(frozen=True)
class ToolCall:
    """A call that the model made. arguments: JSON text of an object, incomplete where the reply was cut off in it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Text:
    """More of the reply's text."""

    text: str


@dataclass(frozen=True)
class Thought:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class CallBegin:
    """A call of which the name is known."""

    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """More of the JSON text of the latest call's arguments; what was said is never taken back."""

    text: str


@dataclass(frozen=True)
class CallEnd:
    """The latest call is complete."""

    call: ToolCall


Part = Text | Thought | CallBegin | CallArguments | CallEnd


class CallWriter:
    """Where readers of calls write what they find. called: whether there was any call.

    Nothing is written before ``begin``: until then a reader may find that its text is no call.
    """

    def __init__(self, tools: Mapping[str, Tool], new_id: Callable[[], str], write: Callable[[Part], None]) -> None:
        """tools: by name. new_id: for calls to which the model gives none. write: takes the parts."""
        self.tools = tools
        self.called = False
        self.open = False
        self.last_end = 0
        self._new_id = new_id
        self._write = write
        self._begun: CallBegin | None = None
        self._arguments: list[str] = []

    def begin(self, name: str, id: str | None = None) -> None:
        """A call begins."""
        self.called = self.open = True
        self._begun = CallBegin(id or self._new_id(), name)
        self._arguments = []
        self._write(self._begun)

    def add(self, arguments: str) -> None:
        """More of its arguments."""
        if arguments:
            self._arguments.append(arguments)
            self._write(CallArguments(arguments))

    def end(self, place: int) -> None:
        """It ends. place: in the source, from where to go on if what follows is no call."""
        assert self._begun is not None
        self.open, self.last_end = False, place
        self._write(CallEnd(ToolCall(self._begun.id, self._begun.name, "".join(self._arguments))))
