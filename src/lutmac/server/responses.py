"""/v1/responses: OpenAI's newer interface. Nothing is stored: each request brings the whole conversation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import time
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response as HttpResponse

from lutmac.engine.grammar import Grammar
from lutmac.server.backend import Backend
from lutmac.server.chat import choose_tools
from lutmac.server.documents import backend_of, record_of, streaming_responses
from lutmac.server.errors import ApiError
from lutmac.server.limits import engine_options
from lutmac.server.response_events import ResponseWriter
from lutmac.server.schemas import responses as schema
from lutmac.server.schemas.chat import CalledFunction, ChatMessage, ToolCall
from lutmac.server.schemas.common import JsonObject, SamplingOptions
from lutmac.server.streaming import EventStream
from lutmac.server.tools import Tool
from lutmac.server.turn import Turn, TurnEvent, run_turn

router = APIRouter(tags=["OpenAI"])
LOGPROBS = "message.output_text.logprobs"


@router.post("/v1/responses", response_model=schema.Response, responses=streaming_responses())
async def responses(asked: schema.ResponseRequest, request: Request) -> HttpResponse:
    """The answer to an input."""
    backend, record = backend_of(request), record_of(request)
    backend.check_model(asked.model)
    _check(asked)
    turn = _turn(asked, backend)
    writer = ResponseWriter(_empty(asked, backend), backend.model.tokenizer)
    events = run_turn(backend, turn, record)
    if asked.stream:
        stream = _stream(writer, events)
        return EventStream(stream, record, failure=writer.failure, silence=backend.settings.timeouts.comment)
    async with aclosing(events):
        async for event in events:
            writer.add(event)
    return HttpResponse(writer.response.model_dump_json(), media_type="application/json")


async def _stream(writer: ResponseWriter, events: AsyncGenerator[TurnEvent, None]) -> AsyncGenerator[bytes, None]:
    begun = False
    async with aclosing(events):
        async for event in events:
            if not begun:
                begun = True
                for said in writer.begin():
                    yield said
            for said in writer.add(event):
                yield said


def _check(asked: schema.ResponseRequest) -> None:
    for param, wrong in (
        ("previous_response_id", asked.previous_response_id is not None),
        ("conversation", asked.conversation is not None),
        ("background", bool(asked.background)),
    ):
        if wrong:
            raise ApiError(400, f"{param} is not supported: this server stores no responses", param=param)


def _turn(asked: schema.ResponseRequest, backend: Backend) -> Turn:
    sampling = SamplingOptions(temperature=asked.temperature, top_p=asked.top_p)
    options = engine_options(sampling, backend.settings.limits, max_tokens=asked.max_output_tokens)
    if asked.top_logprobs is not None or LOGPROBS in (asked.include or ()):
        options["logprobs"] = asked.top_logprobs or 0
    choice = asked.tool_choice
    named = choice.name if isinstance(choice, schema.FunctionChoice) else None
    empty: JsonObject = {"type": "object", "properties": {}}
    given = [Tool(tool.name, tool.description, tool.parameters or empty) for tool in asked.tools or []]
    tools, forced = choose_tools(given, choice, named)
    return Turn(
        messages=_messages(asked),
        options=options,
        tools=tools,
        forced=forced,
        parallel=asked.parallel_tool_calls is not False,
        grammar=_grammar(asked.text.format if asked.text else None),
    )


def _grammar(format: schema.TextFormat | None) -> Grammar | None:
    if format is None or format.type == "text":
        return None
    if format.type == "json_object":
        return Grammar.json_object()
    if format.schema_ is None:
        raise ApiError(400, "Missing required parameter: 'text.format.schema'.",
                       code="missing_required_parameter", param="text.format.schema")  # fmt: skip
    return Grammar.json_schema(format.schema_)


def _messages(asked: schema.ResponseRequest) -> list[ChatMessage]:
    """The input as a conversation; calls that follow one another are one message."""
    messages = [ChatMessage(role="system", content=asked.instructions)] if asked.instructions else []
    if isinstance(asked.input, str):
        return [*messages, ChatMessage(role="user", content=asked.input)]
    for place, item in enumerate(asked.input):
        where = f"input[{place}]"
        if item.type == "function_call":
            call = _call(item, where)
            last = messages[-1] if messages else None
            if last is not None and last.role == "assistant":
                messages[-1] = last.model_copy(update={"tool_calls": [*(last.tool_calls or []), call]})
            else:
                messages.append(ChatMessage(role="assistant", tool_calls=[call]))
        elif item.type == "function_call_output":
            output = _required(item.output, f"{where}.output")
            messages.append(ChatMessage(role="tool", content=output, tool_call_id=item.call_id))
        elif item.type != "reasoning":
            role, content = _required(item.role, f"{where}.role"), _required(item.content, f"{where}.content")
            messages.append(ChatMessage(role=role, content=content))
    return messages


def _call(item: schema.InputItem, where: str) -> ToolCall:
    name, arguments = _required(item.name, f"{where}.name"), _required(item.arguments, f"{where}.arguments")
    id = _required(item.call_id, f"{where}.call_id")
    return ToolCall(id=id, function=CalledFunction(name=name, arguments=arguments))


def _required(value: Any, param: str) -> Any:
    if value is None:
        raise ApiError(400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    return value


def _empty(asked: schema.ResponseRequest, backend: Backend) -> schema.Response:
    """The response before anything is written."""
    format = asked.text.format if asked.text else None
    choice = asked.tool_choice
    return schema.Response(
        id=f"resp_{uuid4().hex}",
        created_at=int(time()),
        status="in_progress",
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        metadata=asked.metadata or {},
        model=backend.name,
        output=[],
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        temperature=asked.temperature,
        text={"format": format.model_dump(by_alias=True, exclude_none=True) if format else {"type": "text"}},
        tool_choice=choice.model_dump() if isinstance(choice, schema.FunctionChoice) else choice or "auto",
        tools=[tool.model_dump(exclude_none=True) for tool in asked.tools or []],
        top_p=asked.top_p,
        user=asked.user,
    )
