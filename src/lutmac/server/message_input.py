"""Anthropic's messages as OpenAI has them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lutmac.server.errors import ApiError
from lutmac.server.schemas.chat import CalledFunction, ChatMessage, ToolCall
from lutmac.server.schemas.messages import Block, InputMessage

_SKIPPED = frozenset({"thinking", "redacted_thinking"})


def chat_messages(system: str | list[Block] | None, messages: Sequence[InputMessage]) -> list[ChatMessage]:
    """The conversation. Raises ApiError (400) for content that is not text, a call or a result."""
    found = []
    if system:
        found.append(ChatMessage(role="system", content=_text(system, "system")))
    for place, message in enumerate(messages):
        found += _messages(message, f"messages[{place}].content")
    if found[-1].role == "assistant":
        raise ApiError(400, "the conversation has to end with a user's message", param="messages")
    return found


def _messages(message: InputMessage, where: str) -> list[ChatMessage]:
    """A message; results of calls, which are part of the user's message here, become messages before it."""
    if isinstance(message.content, str):
        return [ChatMessage(role=message.role, content=message.content)]
    found, texts, calls = [], [], []
    for place, block in enumerate(message.content):
        here = f"{where}[{place}]"
        if block.type == "tool_use" and message.role == "assistant":
            calls.append(_call(block, here))
        elif block.type == "tool_result" and message.role == "user":
            found.append(ChatMessage(role="tool", content=_result(block, here), tool_call_id=block.tool_use_id))
        elif block.type not in _SKIPPED:
            texts.append(_text([block], here))
    if texts or calls or not found:
        found.append(ChatMessage(role=message.role, content="\n".join(texts), tool_calls=calls or None))
    return found


def _call(block: Block, where: str) -> ToolCall:
    if block.id is None or block.name is None or block.input is None:
        raise ApiError(400, "a block of type 'tool_use' needs id, name and input", param=where)
    return ToolCall(id=block.id, function=CalledFunction(name=block.name, arguments=json.dumps(block.input)))


def _result(block: Block, where: str) -> str:
    if block.tool_use_id is None:
        raise ApiError(400, "a block of type 'tool_result' needs tool_use_id", param=where)
    text = _text(block.content or "", f"{where}.content")
    return f"Error: {text}" if block.is_error else text


def _text(content: str | Sequence[Block], where: str) -> str:
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text" or block.text is None:
            raise ApiError(
                400, f"content of type {block.type!r} is not supported by this model: send text", param=where
            )
    return "\n".join(block.text or "" for block in content)
