"""Ollama's requests as OpenAI has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from lutmac.server.errors import ApiError
from lutmac.server.schemas import ollama as schema
from lutmac.server.schemas.chat import ChatRequest
from lutmac.server.schemas.completions import CompletionRequest
from lutmac.server.schemas.sampling import given_options

Fields = dict[str, Any]


def chat_request(asked: schema.ChatRequest) -> ChatRequest:
    """A chat as a chat completion. Raises ApiError (400), and pydantic's ValidationError for values out of range."""
    fields = {"messages": _messages(asked.messages), **_common(asked)}
    if asked.tools:
        fields["tools"] = asked.tools
    return ChatRequest.model_validate(fields)


def prompt_request(asked: schema.GenerateRequest) -> ChatRequest:
    """A prompt as a chat completion."""
    _refuse_images(asked.images, "images")
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    messages = [*system, {"role": "user", "content": asked.prompt}]
    return ChatRequest.model_validate({"messages": messages, **_common(asked)})


def raw_request(asked: schema.GenerateRequest) -> CompletionRequest:
    """A raw prompt, or one with a suffix, as a completion."""
    _refuse_images(asked.images, "images")
    fields = _common(asked)
    fields.pop("think", None)
    top = fields.pop("top_logprobs", 0)
    if fields.pop("logprobs", False):
        fields["logprobs"] = top
    return CompletionRequest.model_validate(
        {"max_tokens": -1, **fields, "prompt": asked.prompt, "suffix": asked.suffix}
    )


def _common(asked: schema.Common) -> Fields:
    options = asked.options or schema.Options()
    fields = given_options(options)
    fields |= {name: value for name in ("stop", "max_tokens") if (value := getattr(options, name)) is not None}
    if fields.get("seed") == -1:
        del fields["seed"]  # draw one
    if fields.get("max_tokens") == 0:
        fields["max_tokens"] = -1
    if asked.format == "json":
        fields["response_format"] = {"type": "json_object"}
    elif isinstance(asked.format, dict):
        fields["response_format"] = {"type": "json_schema", "json_schema": {"schema": asked.format}}
    fields |= {"think": asked.think, "logprobs": asked.logprobs}
    if asked.logprobs:
        fields["top_logprobs"] = asked.top_logprobs or 0
    return fields


def _messages(messages: Sequence[schema.Message]) -> list[Fields]:
    """Messages with ids for calls: Ollama's results name the function, or nothing, and come in the calls' order."""
    found: list[Fields] = []
    open_calls: deque[tuple[str, str]] = deque()
    for place, message in enumerate(messages):
        _refuse_images(message.images, f"messages[{place}].images")
        fields: Fields = {"role": message.role, "content": message.content}
        if message.thinking:
            fields["reasoning_content"] = message.thinking
        if message.tool_calls:
            fields["tool_calls"] = [_call(call, f"call_{place}_{i}") for i, call in enumerate(message.tool_calls)]
            open_calls = deque((call["id"], call["function"]["name"]) for call in fields["tool_calls"])
        if message.role == "tool":
            fields |= {"tool_call_id": message.tool_call_id or _answered(open_calls, message.tool_name)}
            if message.tool_name is not None:
                fields["name"] = message.tool_name
        found.append(fields)
    return found


def _call(call: schema.ToolCall, id: str) -> Fields:
    arguments = call.function.arguments
    function = {"name": call.function.name, "arguments": {} if arguments is None else arguments}
    return {"id": call.id or id, "type": "function", "function": function}


def _answered(open_calls: deque[tuple[str, str]], name: str | None) -> str:
    """The id of the first call without a result that is of this function, or of any."""
    for id, function in open_calls:
        if name in (None, function):
            open_calls.remove((id, function))
            return id
    return f"call_{name}"


def _refuse_images(images: Sequence[str] | None, param: str) -> None:
    if images:
        raise ApiError(400, "images are not supported by this model: send text", param=param)
