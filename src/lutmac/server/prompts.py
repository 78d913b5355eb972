"""Conversations as clients send them, turned into what chat templates expect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from lutmac.server.errors import ApiError
from lutmac.server.schemas.chat import ChatMessage, ContentPart
from lutmac.server.tools import Tool, ToolFormat

TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})

# For models whose template knows nothing of tools: the tags are those of Hermes models.
_INSTRUCTIONS: Final = """\
You can call functions. These are the ones there are, each with a JSON schema of its arguments:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as a JSON object between tags, and nothing else:
<tool_call>
{{"name": "function name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


def template_messages(
    messages: Sequence[ChatMessage], format: ToolFormat, *, knows_tools: bool
) -> list[dict[str, Any]]:
    """Messages for a chat template.

    knows_tools: whether the template writes calls and results itself; otherwise they become text. Raises ApiError
    (400) for a message that makes no sense.
    """
    return [_message(message, f"messages[{i}]", format, knows_tools) for i, message in enumerate(messages)]


def with_instructions(messages: list[dict[str, Any]], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The messages with the tools described in the system message, for templates that know none."""
    listed = "\n".join(json.dumps(tool.as_template_input()["function"], ensure_ascii=False) for tool in tools)
    text = _INSTRUCTIONS.format(tools=listed)
    if messages and messages[0]["role"] == "system":
        text = f"{messages[0]['content']}\n\n{text}"
        messages = messages[1:]
    return [{"role": "system", "content": text}, *messages]


def join_text(parts: Sequence[ContentPart], where: str, *, of_tool: bool = False) -> str:
    """The text of a message's parts.

    of_tool: whether they are what a tool gave back, of which other parts are named, not shown: an agent that looks at a
    picture goes on. Raises ApiError (400) for parts of others that are not text.
    """
    texts = []
    for place, part in enumerate(parts):
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in TEXT_PARTS and of_tool:
            texts.append(omitted(part.type))
            continue
        if part.type not in TEXT_PARTS:
            raise no_text(part.type, f"{where}[{place}].type")
        if text is None:
            raise ApiError(400, f"a part of type {part.type!r} needs its text", param=f"{where}[{place}]")
        texts.append(text)
    return "".join(texts)


def no_text(kind: str, param: str) -> ApiError:
    """What to raise for a user's picture, sound or file. kind: its type in the request."""
    return ApiError(400, f"content of type {kind[:40]!r} is not supported by this model: send text", param=param)


def omitted(kind: str) -> str:
    """What stands for a part of a tool's result that is no text, as in ``[image omitted]``."""
    return f"[{kind.removeprefix('input_').removesuffix('_url')[:40]} omitted]"


def _message(message: ChatMessage, where: str, format: ToolFormat, knows_tools: bool) -> dict[str, Any]:
    content = message.content
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    if isinstance(content, list):
        text = join_text(content, f"{where}.content", of_tool=role == "tool")
    else:
        text = content or ""
    if role == "tool" and not knows_tools:
        return {"role": "user", "content": f"<tool_response>\n{text}\n</tool_response>"}
    found: dict[str, Any] = {"role": role, "content": text}
    if message.name is not None:
        found["name"] = message.name
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        calls = [(call.id, call.function.name, _arguments(call.function.arguments)) for call in message.tool_calls]
        if not knows_tools:
            written = "\n".join(format.write(name, arguments) for _, name, arguments in calls)
            return {"role": role, "content": f"{text}\n{written}" if text else written}
        found["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in calls
        ]
    return found


def _arguments(text: str) -> Any:
    """Arguments as an object, which templates write as the model was trained to; as text where they are no JSON."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
