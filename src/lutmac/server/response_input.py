"""A conversation as /v1/responses has it, item by item, and the messages that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from lutmac.server.errors import missing_parameter
from lutmac.server.omissions import Omissions
from lutmac.server.schemas.chat import CalledFunction, ChatMessage, ToolCall
from lutmac.server.schemas.common import JsonObject
from lutmac.server.schemas.responses import (
    InputItem,
    OtherItem,
    OutputCall,
    OutputItem,
    OutputMessage,
    OutputReasoning,
)


def input_items(given: str | Sequence[InputItem | OtherItem], omissions: Omissions) -> list[InputItem]:
    """A request's input; plain text is a user's message. Items of other types are left out."""
    if isinstance(given, str):
        return [InputItem(role="user", content=given)]
    items = []
    for place, item in enumerate(given):
        if isinstance(item, InputItem):
            items.append(item)
        else:
            omissions.leave_out("item", item.type, f"input[{place}].type")
    return items


def output_items(output: Sequence[OutputItem]) -> list[InputItem]:
    """A response's output, as a later request would bring it."""
    return [_input_item(item) for item in output]


def _input_item(item: OutputItem) -> InputItem:
    match item:
        case OutputCall():
            return InputItem(type="function_call", call_id=item.call_id, name=item.name, arguments=item.arguments)
        case OutputReasoning():
            return InputItem(type="reasoning", content="".join(part.text for part in item.content))
        case OutputMessage():
            return InputItem(role="assistant", content="".join(part.text for part in item.content))


def listed_items(response_id: str, items: Sequence[InputItem]) -> list[JsonObject]:
    """Items as a list of them shows them, each with an id of its own that is always the same."""
    found = []
    for place, item in enumerate(items):
        fields = item.model_dump(exclude_none=True)
        fields["type"] = kind = item.type or "message"
        fields.setdefault("id", f"{_PREFIXES[kind]}_{sha256(f'{response_id} {place}'.encode()).hexdigest()[:32]}")
        if kind == "message" and isinstance(item.content, str):
            part = "output_text" if item.role == "assistant" else "input_text"
            fields["content"] = [{"type": part, "text": item.content}]
        found.append(fields)
    return found


_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def item_messages(
    instructions: str | None, before: Sequence[InputItem], asked: Sequence[InputItem]
) -> list[ChatMessage]:
    """The conversation; calls that follow one another are one message.

    before: what came in earlier requests, which have been checked. asked: what comes in this one. Raises ApiError
    (400) for an item that lacks something.
    """
    messages = [ChatMessage(role="system", content=instructions)] if instructions else []
    thoughts = None  # of the assistant's next message
    for place, item in enumerate([*before, *asked], -len(before)):
        where = f"input[{place}]"
        if item.type == "function_call":
            call = _call(item, where)
            last = messages[-1] if messages else None
            if last is not None and last.role == "assistant" and thoughts is None:
                messages[-1] = last.model_copy(update={"tool_calls": [*(last.tool_calls or []), call]})
            else:
                messages.append(ChatMessage(role="assistant", tool_calls=[call], reasoning_content=thoughts))
                thoughts = None
        elif item.type == "function_call_output":
            messages.append(ChatMessage(role="tool", content=item.output, tool_call_id=item.call_id))
        elif item.type == "reasoning":
            thoughts = _thoughts(item)
        else:
            role = _required(item.role, f"{where}.role")
            own = thoughts if role == "assistant" else None
            messages.append(ChatMessage(role=role, content=item.content, reasoning_content=own))
            thoughts = None
    return messages


def _thoughts(item: InputItem) -> str | None:
    """What a reasoning item says, or else its summary."""
    given: Sequence[Any] = [item.content] if isinstance(item.content, str) else item.content or item.summary or ()
    texts = [part if isinstance(part, str) else _part_text(part) for part in given]
    return "\n".join(filter(None, texts)) or None


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else getattr(part, "text", None)
    return text if isinstance(text, str) else ""


def _call(item: InputItem, where: str) -> ToolCall:
    name, arguments = _required(item.name, f"{where}.name"), _required(item.arguments, f"{where}.arguments")
    id = _required(item.call_id, f"{where}.call_id")
    return ToolCall(id=id, function=CalledFunction(name=name, arguments=arguments))


def _required(value: Any, param: str) -> Any:
    if value is None:
        raise missing_parameter(param)
    return value
