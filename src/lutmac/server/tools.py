"""How models of a family write that they call a function, and how that is read back while it streams.

https://huggingface.co/docs/transformers/chat_extras, and the templates that the families' checkpoints bring.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import uuid4

from lutmac.engine.schema_support import binding_arguments

_DECODER: Final = json.JSONDecoder()
_BARE_STARTS: Final = ("<|python_tag|>", "```json", "```\n{")
_NAMED_ARGUMENTS: Final = re.compile(r"\s*([A-Za-z0-9_.:/-]+)\s*(?:\[ARGS\])?\s*(?=\{)")  # Mistral's newer way


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. parameters: a JSON schema of its arguments."""

    name: str
    description: str | None
    parameters: dict[str, Any]

    def as_template_input(self) -> dict[str, Any]:
        """As chat templates expect it."""
        function: dict[str, Any] = {"name": self.name, "description": self.description or ""}
        return {"type": "function", "function": {**function, "parameters": self.parameters}}


@dataclass(frozen=True)
class ToolCall:
    """A call that the model made. arguments: JSON text of an object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolFormat:
    """A family's way of writing calls.

    opening: stands before a call, or before a list of calls; "" where a call is the bare object. closing: stands
    behind it; "" where the reply ends there. arguments_key: what the arguments are called in the object. as_list: a
    call stands in a list even where there is only one. id_length: characters of a call's id, which some templates
    check.
    """

    name: Literal["hermes", "llama", "mistral", "generic"]
    opening: str
    closing: str
    arguments_key: str = "arguments"
    as_list: bool = False
    id_length: int = 29

    def new_id(self) -> str:
        """An id for a call."""
        return f"call_{uuid4().hex}"[: self.id_length] if self.id_length > 9 else uuid4().hex[: self.id_length]

    def write(self, name: str, arguments: Any) -> str:
        """A call as the model would write it; for templates that know no calls."""
        call: Any = {"name": name, self.arguments_key: arguments}
        return self.opening + json.dumps([call] if self.as_list else call, ensure_ascii=False) + self.closing

    def schema(self, tools: list[Tool]) -> dict[str, Any]:
        """A JSON schema of a call of one of the tools, for the text that follows ``opening``."""
        calls = [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool.name},
                    self.arguments_key: binding_arguments(tool.parameters).schema,
                },
                "required": ["name", self.arguments_key],
                "additionalProperties": False,
            }
            for tool in tools
        ]
        call = calls[0] if len(calls) == 1 else {"anyOf": calls}
        return {"type": "array", "items": call, "minItems": 1, "maxItems": 1} if self.as_list else call


HERMES: Final = ToolFormat("hermes", "<tool_call>\n", "\n</tool_call>")
LLAMA: Final = ToolFormat("llama", "", "", arguments_key="parameters")
MISTRAL: Final = ToolFormat("mistral", "[TOOL_CALLS]", "", as_list=True, id_length=9)
GENERIC: Final = ToolFormat("generic", "", "")


def find_format(template: str) -> ToolFormat:
    """The way of the family that a chat template belongs to."""
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" in template:
        return HERMES
    if "<|python_tag|>" in template or "Environment: ipython" in template:
        return LLAMA
    return GENERIC if "tools" in template else HERMES


class ToolCallParser:
    """Parts a reply into text and calls as it streams.

    Text passes as soon as it cannot be the beginning of a call. What begins as a call and is none passes as text.
    """

    def __init__(self, format: ToolFormat, names: frozenset[str], *, forced: bool = False) -> None:
        """names: of the functions there are. forced: the prompt ends with the opening, all that follows is calls."""
        self._format = format
        self._names = names
        self._forced = forced
        self._opening = format.opening.strip()
        self._closing = format.closing.strip()
        self._held = ""
        self._blanks = ""  # before the opening: text, if no call follows
        self._inside = forced
        self._begun = False

    def push(self, text: str) -> Iterator[str | ToolCall]:
        """What the text completes: pieces of text and calls, in order."""
        self._held += text
        while True:
            if self._inside:
                place = self._held.find(self._closing) if self._closing else -1
                if place < 0:
                    return
                body, self._held = self._held[:place], self._held[place + len(self._closing) :]
                self._inside = False
                yield from self._read(body, closed=True)
            elif self._opening:
                before, opening, behind = self._held.partition(self._opening)
                passed = len((before if opening else before.removesuffix(self._overlap())).rstrip())
                yield from self._passed(before[:passed])
                if not opening:
                    self._held = before[passed:]
                    return
                self._blanks, self._held, self._inside = before[passed:], behind, True
            elif not self._begun and self._may_be_bare_call():
                return
            else:
                text, self._held = self._held, ""
                yield from self._passed(text)
                return

    def flush(self) -> Iterator[str | ToolCall]:
        """What is left when the reply has ended."""
        held, self._held = self._held, ""
        if self._inside or (not self._opening and not self._begun):
            yield from self._read(held, closed=False)
        elif held.strip():
            yield from self._passed(held)

    def _read(self, body: str, *, closed: bool) -> Iterator[str | ToolCall]:
        calls = self._calls(body)
        if calls:
            yield from calls
        else:
            opening = "" if self._forced else self._blanks + self._opening
            yield from self._passed(opening + body + (self._closing if closed else ""))

    def _passed(self, text: str) -> Iterator[str]:
        """Text that is no call; blanks around calls are no text either."""
        if text and (self._begun or text.strip()):
            self._begun = True
            yield text

    def _overlap(self) -> str:
        """What at the end may be the beginning of the opening."""
        longest = min(len(self._opening) - 1, len(self._held))
        starts = (self._opening[:length] for length in range(longest, 0, -1))
        return next((start for start in starts if self._held.endswith(start)), "")

    def _may_be_bare_call(self) -> bool:
        text = self._held.lstrip()
        return text[:1] in ("", "{", "[") or any(start.startswith(text[: len(start)]) for start in _BARE_STARTS)

    def _calls(self, body: str) -> list[ToolCall]:
        """The calls in a text; none if it holds anything else."""
        text = body.strip().removeprefix("<|python_tag|>").strip()
        text = re.sub(r"^```(?:json)?\s*|\s*```$", "", text)
        calls: list[ToolCall] = []
        while text:
            named = _NAMED_ARGUMENTS.match(text) if self._format is MISTRAL else None
            try:
                value, end = _DECODER.raw_decode(text, named.end() if named else 0)
            except (ValueError, RecursionError):
                return []
            values = (
                [{"name": named[1], "arguments": value}] if named else value if isinstance(value, list) else [value]
            )
            found = [self._call(value) for value in values]
            if not all(found):
                return []
            calls += [call for call in found if call]
            text = text[end:].lstrip().removeprefix(";").removeprefix(self._opening).lstrip()
        return calls

    def _call(self, value: Any) -> ToolCall | None:
        if not isinstance(value, dict):
            return None
        name = value.get("name")
        arguments = value.get("arguments", value.get("parameters", {}))
        if isinstance(arguments, str):  # JSON within JSON
            try:
                arguments = json.loads(arguments or "{}")
            except (ValueError, RecursionError):
                return None
        if not isinstance(name, str) or not isinstance(arguments, dict) or not self._known(name):
            return None
        return ToolCall(self._format.new_id(), name, json.dumps(arguments, ensure_ascii=False))

    def _known(self, name: str) -> bool:
        """A bare object is a call only of a function that there is: it may be an answer in JSON."""
        return bool(self._opening) or name in self._names
