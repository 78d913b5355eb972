"""Which of a request's tools the model is offered, and of which it has to call one, on every interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lutmac.server.errors import ApiError
from lutmac.server.omissions import Omissions
from lutmac.server.schemas import chat, responses
from lutmac.server.schemas.common import FunctionDefinition, JsonObject
from lutmac.server.tools import Tool

NO_ARGUMENTS: JsonObject = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class ToolChoice:
    """A client's wish. named: the one to call. allowed: the only ones that may be called; None is all of them."""

    mode: Literal["none", "auto", "required"] = "auto"
    named: str | None = None
    allowed: tuple[str, ...] | None = None


def chat_choice(asked: chat.ChatRequest) -> ToolChoice:
    """The wish of a chat completion; that of the older interface where there is no other."""
    choice = asked.tool_choice
    if choice is None and asked.function_call is not None:
        older = asked.function_call
        return ToolChoice(named=older.name) if isinstance(older, chat.NamedFunction) else ToolChoice(older)
    match choice:
        case chat.NamedToolChoice():
            return ToolChoice(named=choice.function.name)
        case chat.AllowedToolChoice():
            return ToolChoice(choice.allowed_tools.mode, allowed=_names(choice.allowed_tools.tools))
        case None:
            return ToolChoice()
        case _:
            return ToolChoice(choice)


def response_choice(choice: Any) -> ToolChoice:
    """The wish of a response. choice: the request's ``tool_choice``."""
    match choice:
        case responses.FunctionChoice():
            return ToolChoice(named=choice.name)
        case responses.AllowedFunctions():
            return ToolChoice(choice.mode, allowed=_names(choice.tools))
        case _:
            return ToolChoice(choice or "auto")


def choose_tools(tools: Sequence[Tool], choice: ToolChoice) -> tuple[tuple[Tool, ...], tuple[Tool, ...]]:
    """Which tools are offered, and of which of them one has to be called. Raises ApiError (400)."""
    known = {tool.name for tool in tools}
    for name in (choice.named, *(choice.allowed or ())):
        if name is not None and name not in known:
            raise ApiError(400, f"tool_choice names {name!r}, which is not among the tools", param="tool_choice")
    offered = tuple(tool for tool in tools if choice.allowed is None or tool.name in choice.allowed)
    if choice.named is not None:
        return offered, tuple(tool for tool in offered if tool.name == choice.named)
    if choice.mode == "required" and not offered:
        raise ApiError(400, "tool_choice is 'required', but there are no tools", param="tool_choice")
    if choice.mode == "none":
        return (), ()
    return offered, offered if choice.mode == "required" else ()


def chat_tools(
    tools: Iterable[chat.Tool | chat.OtherTool] | None,
    functions: Iterable[FunctionDefinition] | None,
    omissions: Omissions,
) -> list[Tool]:
    """The functions of a chat completion. functions: those of the older interface. Other tools are left out."""
    found = [tool_of(function) for function in functions or ()]
    for place, tool in enumerate(tools or ()):
        if isinstance(tool, chat.Tool):
            found.append(tool_of(tool.function))
        else:
            omissions.leave_out("tool", tool.type, f"tools[{place}].type")
    return found


def response_tools(
    tools: Iterable[responses.FunctionTool | chat.OtherTool] | None, omissions: Omissions
) -> list[responses.FunctionTool]:
    """The functions of a response. Other tools are left out."""
    found = []
    for place, tool in enumerate(tools or ()):
        if isinstance(tool, responses.FunctionTool):
            found.append(tool)
        else:
            omissions.leave_out("tool", tool.type, f"tools[{place}].type")
    return found


def tool_of(function: FunctionDefinition | responses.FunctionTool) -> Tool:
    """A function as the parsers and templates know it; without a schema it takes no arguments."""
    return Tool(function.name, function.description, function.parameters or NO_ARGUMENTS)


def _names(tools: Iterable[JsonObject]) -> tuple[str, ...]:
    """The functions that a list of references names, in either interface's form."""
    found = []
    for tool in tools:
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else tool.get("name")
        if isinstance(name, str) and tool.get("type", "function") == "function":
            found.append(name)
    return tuple(found)
