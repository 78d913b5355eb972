"""Conversations as clients send them, turned into what chat templates expect."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from lutmac.server.errors import ApiError
from lutmac.server.schemas.chat import ChatMessage, ContentPart
from lutmac.server.tools import HERMES, Family, Tool
from lutmac.text.template_abilities import TemplateAbilities

TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
_SHORT_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")

# For models whose template knows nothing of tools.
_INSTRUCTIONS: Final = """\
You can call functions. These are the ones there are, each with a JSON schema of its arguments:
<tools>
{tools}
</tools>
To call one, answer with its name and its arguments as a JSON object, in this form and with nothing else:
{example}"""


def template_messages(
    messages: Sequence[ChatMessage], tools: Sequence[Tool], family: Family, abilities: TemplateAbilities
) -> list[dict[str, Any]]:
    """Messages for a chat template.

    Calls become text in the family's notation where the template does not write them itself. Tools that it does not
    write are described in the system message. Raises ApiError (400) for a message that makes no sense.
    """
    found = [_message(message, f"messages[{place}]", family, abilities) for place, message in enumerate(messages)]
    if tools and abilities.tools == "system":
        functions = [tool.as_template_input()["function"] for tool in tools]
        return _with_system(found, tools=json.dumps(functions, ensure_ascii=False))
    if tools and not abilities.tools:
        return _with_system(found, instructions=_instructions(tools, family))
    return found


def join_text(parts: Sequence[ContentPart], where: str, *, of_tool: bool = False) -> str:
    """The text of a message's parts, see `_text_parts`."""
    return "".join(part["text"] for part in _text_parts(parts, where, of_tool=of_tool))


def _text_parts(parts: Sequence[ContentPart], where: str, *, of_tool: bool = False) -> list[dict[str, str]]:
    """The parts of a message as templates take them.

    of_tool: whether they are what a tool gave back, of which other parts are named, not shown: an agent that looks at a
    picture goes on. Raises ApiError (400) for parts of others that are not text.
    """
    found = []
    for place, part in enumerate(parts):
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in TEXT_PARTS:
            if not of_tool:
                raise no_text(part.type, f"{where}[{place}].type")
            text = omitted(part.type)
        if text is None:
            raise ApiError(400, f"a part of type {part.type!r} needs its text", param=f"{where}[{place}]")
        found.append({"type": "text", "text": text})
    return found


def no_text(kind: str, param: str) -> ApiError:
    """What to raise for a user's picture, sound or file. kind: its type in the request."""
    return ApiError(400, f"content of type {kind[:40]!r} is not supported by this model: send text", param=param)


def omitted(kind: str) -> str:
    """What stands for a part of a tool's result that is no text, as in ``[image omitted]``."""
    return f"[{kind.removeprefix('input_').removesuffix('_url')[:40]} omitted]"


def _instructions(tools: Sequence[Tool], family: Family) -> str:
    listed = "\n".join(json.dumps(tool.as_template_input()["function"], ensure_ascii=False) for tool in tools)
    writer = family if family.style == "json" and not family.bare else HERMES
    return _INSTRUCTIONS.format(tools=listed, example=writer.write("function name", {"argument": "value"}))


def _with_system(messages: list[dict[str, Any]], instructions: str = "", **keys: str) -> list[dict[str, Any]]:
    """The messages with more in the system message, which is made where there is none."""
    first: dict[str, Any] = {"role": "system", "content": ""}
    rest = messages
    if messages and messages[0]["role"] in ("system", "developer"):
        first, *rest = messages
    content = first["content"]
    if isinstance(content, list):
        content = [*content, *([{"type": "text", "text": f"\n\n{instructions}"}] if instructions else [])]
    else:
        content = "\n\n".join(filter(None, [content, instructions]))
    return [{**first, **keys, "content": content}, *rest]


def _message(message: ChatMessage, where: str, family: Family, abilities: TemplateAbilities) -> dict[str, Any]:
    role = "tool" if message.role == "function" else message.role
    content: Any = message.content or ""
    if isinstance(content, list):
        content = _text_parts(content, f"{where}.content", of_tool=role == "tool")
        if not abilities.parts or role == "tool":
            content = _text(content)
    found: dict[str, Any] = {"role": role, "content": content}
    if message.name is not None:
        found["name"] = message.name
    if message.tool_call_id is not None:
        found["tool_call_id"] = _id(message.tool_call_id, family)
    if role == "assistant" and message.thoughts:
        found["reasoning_content"] = message.thoughts
    if message.tool_calls:
        _add_calls(found, message, family, abilities)
    return found


def _add_calls(found: dict[str, Any], message: ChatMessage, family: Family, abilities: TemplateAbilities) -> None:
    """A message's calls as the template takes them; as text where it takes none."""
    calls = [(call.id, call.function.name, _arguments(call.function.arguments)) for call in message.tool_calls or ()]
    if abilities.calls:
        found["tool_calls"] = [
            {"id": _id(id, family), "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in calls
        ]
        return
    written = "\n".join(family.write(name, arguments) for _, name, arguments in calls)
    found["content"] = "\n".join(filter(None, [_text(found["content"]), written]))


def _text(content: str | Sequence[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _id(id: str, family: Family) -> str:
    """A call's id as the family's template takes it: some refuse all that has not nine letters and digits."""
    return sha256(id.encode()).hexdigest()[:9] if family.id_length == 9 and not _SHORT_ID.fullmatch(id) else id


def _arguments(text: str) -> Any:
    """Arguments as an object, which templates write as the model was trained to; as text where they are no JSON."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
