"""Chats made to fit what a template takes: roles that it refuses, their order, and the form of content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any, Final

from lutmac.text.template_abilities import TemplateAbilities

Message = Mapping[str, Any]
BETWEEN: Final = "\n\n"
THOUGHT_KEYS: Final = ("reasoning_content", "thinking", "reasoning")


def fit_messages(messages: Sequence[Message], abilities: TemplateAbilities) -> list[Message]:
    """The chat as a template takes it; as it is where the template takes that.

    What it refuses is put where it takes it, in order, with a blank line between: a system message in front of the next
    user's, neighbours of one role into one message, each of several calls into a message of its own. A developer's
    message is a system message where that role is not known. Calls and their results are text, as Hermes' models write
    them, where the template knows none. Thoughts stand where the template reads them, and are left out where it reads
    none.
    """
    found = [_known_role(_told(message, abilities), abilities) for message in messages]
    if not abilities.several_calls:
        found = _part_calls(found)
    if not (abilities.system and abilities.later_system):
        found = _place_instructions(found, abilities)
    if not abilities.repeats:
        found = _merge_neighbours(found)
    if not abilities.begins_with_reply:
        found = _begin_with_user(found)
    return [_fit_message(message, abilities) for message in found]


def with_word(messages: Sequence[Message], word: str | None) -> list[Message]:
    """The chat with a word behind the user's last message, by which a template turns thinking off or on."""
    found = list(messages)
    place = max((place for place, message in enumerate(found) if message["role"] == "user"), default=None)
    if word is None or place is None:
        return found
    content = found[place].get("content") or ""
    with_it = f"{content} {word}" if isinstance(content, str) else [*content, {"type": "text", "text": f" {word}"}]
    found[place] = {**found[place], "content": with_it}
    return found


def _known_role(message: Message, abilities: TemplateAbilities) -> Message:
    return {**message, "role": "system"} if message["role"] == "developer" and not abilities.developer else message


def _told(message: Message, abilities: TemplateAbilities) -> Message:
    """Calls and results as text where the template would lose or refuse them."""
    if message["role"] in ("tool", "function") and not abilities.takes_results:
        return {
            "role": "user",
            "content": f"<tool_response>\n{_as_text(_as_parts(message.get('content')))}\n</tool_response>",
        }
    if not message.get("tool_calls") or abilities.calls:
        return message
    calls = [call.get("function", call) for call in _fit_calls(message["tool_calls"], as_text=False)]
    texts = [json.dumps({key: call.get(key) for key in ("name", "arguments")}, ensure_ascii=False) for call in calls]
    written = "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in texts)
    content = "\n".join(filter(None, [_as_text(_as_parts(message.get("content"))), written]))
    return {**{key: value for key, value in message.items() if key != "tool_calls"}, "content": content}


def _part_calls(messages: Sequence[Message]) -> list[Message]:
    """Each of several calls in a message as one of its own, with its result behind it."""
    found: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        if message["role"] == "tool" and waiting:
            own = next((call for call in waiting if call.get("id") == message.get("tool_call_id")), waiting[0])
            waiting.remove(own)
            if found[-1].get("tool_calls") != [own]:
                found.append({"role": "assistant", "content": "", "tool_calls": [own]})
        elif len(message.get("tool_calls") or ()) > 1:
            waiting = list(message["tool_calls"])
            found.append({**message, "tool_calls": waiting[:1]})
            continue
        found.append(message)
    return found


def _place_instructions(messages: Sequence[Message], abilities: TemplateAbilities) -> list[Message]:
    """System messages: those at the beginning as one if the template takes one, others with the next user message."""
    found: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        if message["role"] == "system":
            if abilities.system and all(other["role"] == "system" for other in found):
                found = [_joined(found[0], message) if found else message]
            else:
                waiting.append(message)
        elif message["role"] == "user":
            found.append(reduce(_joined, [*waiting, message]))
            waiting.clear()
        else:
            found.append(message)
    if waiting:
        place = len(found) - (bool(found) and found[-1]["role"] == "assistant")
        found[place:place] = [{**message, "role": "user"} for message in waiting]
    return found


def _merge_neighbours(messages: Sequence[Message]) -> list[Message]:
    found: list[Message] = []
    for message in messages:
        last = found[-1] if found else None
        if last is not None and last["role"] == message["role"] in ("user", "assistant") and not last.get("tool_calls"):
            found[-1] = _joined(last, message)
        else:
            found.append(message)
    return found


def _begin_with_user(messages: Sequence[Message]) -> list[Message]:
    """A user's message of no words before a reply that begins the chat."""
    place = next((place for place, message in enumerate(messages) if message["role"] != "system"), len(messages))
    if place < len(messages) and messages[place]["role"] == "assistant":
        return [*messages[:place], {"role": "user", "content": ""}, *messages[place:]]
    return list(messages)


def _joined(first: Message, second: Message) -> Message:
    """Two messages as one, of the second's role and with what it has beside content, such as calls."""
    return {
        **first,
        **{key: value for key, value in second.items() if key != "content"},
        "content": _joined_content(first.get("content"), second.get("content")),
    }


def _joined_content(first: Any, second: Any) -> Any:
    if isinstance(first, list) or isinstance(second, list):
        return [*_as_parts(first), *_as_parts(BETWEEN), *_as_parts(second)]
    return BETWEEN.join(str(text) for text in (first, second) if text)


def _fit_message(message: Message, abilities: TemplateAbilities) -> Message:
    content = message.get("content")
    found = dict(message)
    if content is None and message.get("tool_calls"):  # as OpenAI's API has it, and few templates
        found["content"] = content = ""
    if isinstance(found.get("tool_calls"), list | tuple):
        found["tool_calls"] = _fit_calls(found["tool_calls"], as_text=abilities.arguments_as_text)
    thoughts = next((found[key] for key in THOUGHT_KEYS if isinstance(found.get(key), str) and found[key]), None)
    for key in THOUGHT_KEYS:
        found.pop(key, None)
    if thoughts is not None and abilities.thought_key:
        if message.get("tool_calls") and abilities.thoughts_or_content:
            thoughts, content = _joined_content(thoughts, content), ""
            found["content"] = content
        found[abilities.thought_key] = thoughts
    elif thoughts is not None and abilities.thought_parts:
        found["content"] = [{"type": "thinking", "thinking": thoughts}, *_as_parts(content)]
        return found
    if isinstance(content, str) and not abilities.text:
        found["content"] = _as_parts(content)
    elif isinstance(content, list) and not abilities.parts:
        found["content"] = _as_text(content)
    elif content == "" and message.get("tool_calls") and abilities.calls_without_content:
        found["content"] = None
    return found


def _fit_calls(calls: Sequence[Any], *, as_text: bool) -> list[Any]:
    """Calls with arguments as an object, or as JSON text."""
    found = []
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if as_text and isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        elif not as_text and isinstance(arguments, str):
            with suppress(ValueError, RecursionError):
                arguments = json.loads(arguments or "{}")
        found.append({**call, "function": {**function, "arguments": arguments}} if function else call)
    return found


def _as_parts(content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _as_text(parts: Sequence[Any]) -> Any:
    """The text of the parts; the parts as they are where any has none, which is for the template to refuse."""
    given = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    texts = [text for text in given if isinstance(text, str)]
    return "".join(texts) if len(texts) == len(given) else parts
