"""What a chat template can do, found out by rendering small chats with it and looking at what comes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lutmac.errors import LutmacError

Render = Callable[..., str]
_USER, _AGAIN, _REPLY, _SYSTEM, _TOOL, _OTHER, _RESULT, _THOUGHT = (
    f"lutmac_{word}"
    for word in ("question", "follow_up", "answer", "instruction", "tool", "second_tool", "result", "thought")
)
_KEY, _VALUE, _ID = "lutmackey", "lutmacvalue", "lutmacid0"  # some templates want nine letters and digits of an id
_TOOL_VARIABLES: Final = ("tools", "xml_tools", "functions")
_THOUGHT_KEYS: Final = ("reasoning_content", "thinking", "reasoning")
_THINKING_SWITCHES: Final = ("enable_thinking", "thinking")
_THINKING_WORDS: Final = ("/no_think", "/think")
THINKING_WORD: Final = "thinking_word"  # the variable that carries one of them to `fit_messages`


@dataclass(frozen=True)
class TemplateAbilities:
    """What a template takes.

    text, parts: content that is text, that is a list of parts. system: a system message at the beginning;
    later_system: elsewhere. repeats: neighbours of one role. begins_with_reply: a chat that begins with the assistant.
    developer: that role. tools: the variable that it reads tools from, or "system" for the key `tools` of a system
    message, or "". needs_tools: it fails without any. calls: the assistant's calls; several_calls: in one message;
    results: what they gave back. arguments_as_text: of calls. calls_without_content: content has to be None beside
    calls. thought_key: under which it reads a message's thoughts, "" for none; thought_parts: it reads them from a part
    of the content; thoughts_or_content: it takes only one of them beside calls. thinking_words: what turns thinking
    off and on in a user's message. variables: all that it reads.
    """

    text: bool = True
    parts: bool = False
    system: bool = True
    later_system: bool = True
    repeats: bool = True
    begins_with_reply: bool = True
    developer: bool = False
    tools: str = ""
    needs_tools: bool = False
    calls: bool = False
    several_calls: bool = False
    results: bool = False
    arguments_as_text: bool = False
    calls_without_content: bool = False
    thought_key: str = ""
    thought_parts: bool = False
    thoughts_or_content: bool = False
    thinking_words: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()

    def inputs(self, tools: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
        """The variables with which it gets tools, and what it fails without."""
        found: dict[str, Any] = {"tools": [] if self.needs_tools and not tools else tools}
        if self.tools == "xml_tools" and tools:
            found["xml_tools"] = tools
        if "functions" in self.variables:
            found["functions"] = json.dumps([tool.get("function", tool) for tool in tools or ()], ensure_ascii=False)
        if "datetime" in self.variables:
            found["datetime"] = datetime.now().strftime("%B %d %Y")
        return found

    @property
    def takes_results(self) -> bool:
        """Whether it writes what calls gave back, as what they are."""
        return self.results and bool(self.calls or self.tools)

    @property
    def thinking_switches(self) -> tuple[str, ...]:
        """The variables that turn thinking on and off."""
        return tuple(name for name in _THINKING_SWITCHES if name in self.variables)


def find_abilities(source: str, variables: frozenset[str], render: Render) -> TemplateAbilities:
    """Tries a template out. source: its text. variables: that it reads. render: `ChatTemplate.render`."""
    probe = _Probe(render, variables)
    parts = probe.takes_parts()
    probe.as_parts = parts and not probe.shows([_user()], _USER)
    calls = probe.calls()
    later = [_user(), _reply(), _message("system", _SYSTEM), _user(_AGAIN)]
    return TemplateAbilities(
        text=not probe.as_parts,
        parts=parts,
        system=probe.shows([_message("system", _SYSTEM), _user()], _SYSTEM, _USER),
        later_system=probe.shows(later, _SYSTEM, _AGAIN),
        repeats=probe.shows([_user(), _user(_AGAIN)], _USER, _AGAIN),
        begins_with_reply=probe.shows([_reply(), _user()], _REPLY, _USER),
        developer="developer" in source and probe.shows([_message("developer", _SYSTEM), _user()], _SYSTEM, _USER),
        tools=probe.tools_variable(source),
        needs_tools=probe.needs_tools,
        calls=calls is not None,
        several_calls=calls is not None and probe.shows([_user(), calls.message(_TOOL, _OTHER)], _TOOL, _OTHER),
        results=probe.shows([_user(), calls.message(_TOOL) if calls else _reply(), _result()], _RESULT),
        arguments_as_text=calls is not None and calls.arguments_as_text,
        calls_without_content=calls is not None and calls.content is None,
        thought_key=next((key for key in _THOUGHT_KEYS if key in source and probe.takes_thoughts(key, calls)), ""),
        thought_parts=probe.takes_thought_parts(),
        thoughts_or_content=calls is not None and not probe.takes_all(calls),
        thinking_words=probe.thinking_words(source),
        variables=variables,
    )


@dataclass(frozen=True)
class _Calls:
    """How a template takes calls. content: beside them, where there is none."""

    arguments_as_text: bool
    content: str | None

    def message(self, *names: str) -> dict[str, Any]:
        """A message that calls tools."""
        arguments: Any = f'{{"{_KEY}": "{_VALUE}"}}' if self.arguments_as_text else {_KEY: _VALUE}
        calls = [{"id": _ID, "type": "function", "function": {"name": name, "arguments": arguments}} for name in names]
        return {"role": "assistant", "content": self.content, "tool_calls": calls}


class _Probe:
    """Renders chats and looks for words in them.

    as_parts: whether content goes as a list of parts. needs_tools: whether the template fails without tools.
    """

    def __init__(self, render: Render, variables: frozenset[str]) -> None:
        self.as_parts = False
        self._render = render
        self._variables = variables
        self._inputs = TemplateAbilities(variables=variables).inputs(None)
        tried = [{"role": "user", "content": content} for content in (_USER, _parts(_USER))]
        self.needs_tools = not any(self.shows([message], _USER) for message in tried)
        if self.needs_tools:
            self._inputs = TemplateAbilities(variables=variables).inputs([_tool()])

    def shows(self, messages: Sequence[Mapping[str, Any]], *words: str, **inputs: Any) -> bool:
        """Whether all words stand in the prompt, and not with Python's quotes, nor as JSON within JSON."""
        rendered = self.rendered(messages, **inputs)
        if rendered is None or any(
            mark in rendered for mark in ("'type'", f"'{_KEY}'", f'\\"{_KEY}', '"text": "lutmac_')
        ):
            return False
        return all(word in rendered for word in words)

    def rendered(self, messages: Sequence[Mapping[str, Any]], **inputs: Any) -> str | None:
        """The prompt, None where the template refuses."""
        given = [self._content(message) for message in messages]
        try:
            return self._render(given, **{**self._inputs, **inputs})
        except LutmacError:
            return None

    def takes_parts(self) -> bool:
        """Whether a list of parts comes out as the text in it."""
        return self.shows([{"role": "user", "content": _parts(_USER)}], _USER)

    def takes_thoughts(self, key: str, calls: _Calls | None) -> bool:
        """Whether thoughts under a key get into the prompt, anywhere: many templates leave earlier ones out."""
        chats: list[list[dict[str, Any]]] = [
            [_user(), {**_reply(), key: _THOUGHT}, _user(_AGAIN)],
            [_user(), {**_reply(), key: _THOUGHT}],
        ]
        if calls is not None:
            chats.append([_user(), {**calls.message(_TOOL), key: _THOUGHT}, _result()])
        switched_on = dict.fromkeys(_THINKING_SWITCHES, True)
        return any(
            self.shows(chat, _THOUGHT, add_generation_prompt=chat[-1]["role"] != "assistant", **inputs)
            for chat in chats
            for inputs in ({}, switched_on)
        )

    def takes_thought_parts(self) -> bool:
        """Whether thoughts may be a part of the content."""
        content = [{"type": "thinking", "thinking": _THOUGHT}, *_parts(_REPLY)]
        return self.shows([_user(), {"role": "assistant", "content": content}, _user(_AGAIN)], _THOUGHT, _REPLY)

    def thinking_words(self, source: str) -> tuple[str, ...]:
        """Words of a user's message by which it turns thinking off and on, without a trace of them in the prompt."""
        off, on = _THINKING_WORDS
        if off not in source or not self._variables.isdisjoint(_THINKING_SWITCHES):
            return ()
        without, with_off, with_on = (
            self.rendered([_user(f"{_USER}{word}")], add_generation_prompt=True) for word in ("", f" {off}", f" {on}")
        )
        hidden = with_off is not None and off not in with_off and with_on is not None and on not in with_on
        return _THINKING_WORDS if hidden and with_off != with_on and without in (with_off, with_on) else ()

    def takes_all(self, calls: _Calls) -> bool:
        """Whether thoughts, content and calls go together."""
        thoughts = dict.fromkeys(_THOUGHT_KEYS, _THOUGHT)
        return self.rendered([_user(), {**calls.message(_TOOL), "content": _REPLY, **thoughts}, _result()]) is not None

    def tools_variable(self, source: str) -> str:
        """Where tools are read from."""
        without = TemplateAbilities(variables=self._variables).inputs(None)
        for variable in _TOOL_VARIABLES:
            if variable in source:
                inputs = TemplateAbilities(tools=variable, variables=self._variables).inputs([_tool()])
                for chat in ([_user()], [_message("system", _SYSTEM), _user()]):
                    rendered = self.rendered(chat, **inputs)
                    if rendered is not None and rendered != self.rendered(chat, **without):  # in whatever notation
                        return variable
        return "system" if self.shows([{**_message("system", _SYSTEM), "tools": _TOOL}, _user()], _TOOL) else ""

    def calls(self) -> _Calls | None:
        """How calls are taken; None where they do not get into the prompt."""
        for content in ("", None):
            for as_text in (False, True):
                calls = _Calls(as_text, content)
                chat = [_user(), calls.message(_TOOL)]
                if self.shows([*chat, _result()], _TOOL, _KEY, _VALUE) or self.shows(chat, _TOOL, _KEY, _VALUE):
                    return calls
        return None

    def _content(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        content = message.get("content")
        return {**message, "content": _parts(content)} if self.as_parts and isinstance(content, str) else message


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def _user(content: str = _USER) -> dict[str, Any]:
    return _message("user", content)


def _reply() -> dict[str, Any]:
    return _message("assistant", _REPLY)


def _result() -> dict[str, Any]:
    return {"role": "tool", "name": _TOOL, "tool_call_id": _ID, "content": _RESULT}


def _tool() -> dict[str, Any]:
    parameters = {"type": "object", "properties": {_KEY: {"type": "string", "description": ""}}, "required": [_KEY]}
    return {"type": "function", "function": {"name": _TOOL, "description": "", "parameters": parameters}}
