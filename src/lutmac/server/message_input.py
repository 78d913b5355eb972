"""Anthropic's messages as OpenAI has them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lutmac.server.errors import ApiError
from lutmac.server.prompts import no_text, omitted
from lutmac.server.schemas.chat import CalledFunction, ChatMessage, ToolCall
from lutmac.server.schemas.messages import ContentBlock, InputMessage


def chat_messages(system: str | list[ContentBlock] | None, messages: Sequence[InputMessage]) -> list[ChatMessage]:
    """The conversation. Raises ApiError (400) for content that is not text, a call or a result."""
    found = []
    if system:
        found.append(ChatMessage(role="system", content=_text(system, "system")))
    for place, message in enumerate(messages):
        found += _messages(message, f"messages[{place}].content")
    return found


def _messages(message: InputMessage, where: str) -> list[ChatMessage]:
    """A message; results of calls, which are part of the user's message here, become messages before it."""
    if isinstance(message.content, str):
        return [ChatMessage(role=message.role, content=message.content)]
    found, texts, calls, thoughts = [], [], [], []
    for place, block in enumerate(message.content):
        here = f"{where}[{place}]"
        if block.type == "tool_use" and message.role == "assistant":
            calls.append(_call(block, here))
        elif block.type == "tool_result" and message.role == "user":
            found.append(ChatMessage(role="tool", content=_result(block, here), tool_call_id=block.tool_use_id))
        elif block.type == "thinking":
            thoughts.append(block.thinking or "")
        elif block.type != "redacted_thinking":
            texts.append(_text([block], here))
    if texts or calls or not found:
        found.append(
            ChatMessage(
                role=message.role,
                content="\n".join(texts),
                reasoning_content="\n".join(thoughts) or None,
                tool_calls=calls or None,
            )
        )
    return found


def _call(block: ContentBlock, where: str) -> ToolCall:
    if block.id is None or block.name is None or block.input is None:
        raise ApiError(400, "a block of type 'tool_use' needs id, name and input", param=where)
    return ToolCall(id=block.id, function=CalledFunction(name=block.name, arguments=json.dumps(block.input)))


def _result(block: ContentBlock, where: str) -> str:
    if block.tool_use_id is None:
        raise ApiError(400, "a block of type 'tool_result' needs tool_use_id", param=where)
    text = _text(block.content or "", f"{where}.content", of_tool=True)
    return f"Error: {text}" if block.is_error else text


def _text(content: str | Sequence[ContentBlock], where: str, *, of_tool: bool = False) -> str:
    """The text of some blocks. of_tool: whether a tool gave them back, of which others are named, not shown."""
    if isinstance(content, str):
        return content
    texts = []
    for block in content:
        text = _document_text(block) if block.type == "document" else block.text
        if text is not None:
            texts.append(text)
        elif of_tool:
            texts.append(omitted(block.type))
        else:
            raise no_text(block.type, where)
    return "\n".join(texts)


def _document_text(block: ContentBlock) -> str | None:
    """What a document of plain text says; None for any other."""
    source = block.source if isinstance(block.source, dict) else {}
    data = source.get("data") if source.get("type") == "text" else None
    return data if isinstance(data, str) else None
