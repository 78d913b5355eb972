"""/v1/messages: Anthropic's interface, which coding agents speak."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from starlette.responses import Response

from lutmac.engine.sampling.grammar import Grammar
from lutmac.server.backend import Backend
from lutmac.server.documents import error_responses, model_for, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_stops, engine_options
from lutmac.server.logs import RequestRecord
from lutmac.server.message_events import MessageWriter
from lutmac.server.message_input import chat_messages
from lutmac.server.omissions import Omissions
from lutmac.server.reply_format import format_grammar
from lutmac.server.schemas import messages as schema
from lutmac.server.schemas.common import SamplingOptions
from lutmac.server.streaming import EventStream
from lutmac.server.thinking import Thinking
from lutmac.server.tool_choice import NO_ARGUMENTS, ToolChoice, choose_tools
from lutmac.server.tools import Tool
from lutmac.server.turn import Turn, TurnEvent, continues, encode_turn, run_turn

router = new_router("Anthropic")


@router.post("/v1/messages", response_model=schema.Message, responses=streaming_responses(schema.AnthropicError))
async def messages(asked: schema.MessagesRequest, request: Request) -> Response:
    """The next message of a conversation."""
    backend, record = await model_for(request, asked), record_of(request)
    stops = check_stops(asked.stop_sequences, backend.settings.limits, "stop_sequences")
    sampling = SamplingOptions.model_validate(
        {"temperature": asked.temperature, "top_p": asked.top_p, "top_k": asked.top_k, "stop": stops or None}
    )
    options = engine_options(sampling, backend.settings.limits, max_tokens=asked.max_tokens)
    writer = MessageWriter(backend.name)
    turn = _turn(asked, options, backend, await _grammar(asked, backend, record))
    written = _write(writer, run_turn(backend, turn, record))
    if asked.stream:
        return EventStream(written, record, failure=writer.failure, silence=backend.settings.timeouts.comment)
    async with aclosing(written):
        async for _ in written:
            pass
    return Response(writer.whole().model_dump_json(), media_type="application/json")


@router.post("/v1/messages/count_tokens", responses=error_responses(schema.AnthropicError))
async def count_tokens(asked: schema.CountRequest, request: Request) -> schema.CountResponse:
    """How many tokens a conversation has."""
    backend = await model_for(request, asked)
    return schema.CountResponse(input_tokens=len((await encode_turn(backend, _turn(asked, {}, backend))).ids))


async def _write(writer: MessageWriter, events: AsyncGenerator[TurnEvent, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            for said in writer.add(event):
                yield said


async def _grammar(asked: schema.MessagesRequest, backend: Backend, record: RequestRecord) -> Grammar | None:
    """What the text of the reply has to fit. Raises what `format_grammar` raises."""
    if asked.output_config is not None and asked.output_config.format is not None:
        form, param = asked.output_config.format, "output_config.format.schema"
    elif asked.output_format is not None:
        form, param = asked.output_format, "output_format.schema"
    else:
        return None
    return await format_grammar(form.type, form.schema_, param, backend, record)


def _turn(
    asked: schema.CountRequest, options: dict[str, Any], backend: Backend, grammar: Grammar | None = None
) -> Turn:
    choice = asked.tool_choice or schema.MessagesToolChoice(type="auto")
    tools, forced = choose_tools(_tools(asked, backend.omissions), _wish(choice))
    chat = chat_messages(asked.system, asked.messages)
    return Turn(
        messages=chat,
        options=options,
        tools=tools,
        forced=forced,
        parallel=not choice.disable_parallel_tool_use,
        grammar=grammar,
        param=None,
        thinking=_thinking(asked),
        continues=continues(chat, wish=None, bound=bool(forced or grammar)),
    )


def _thinking(asked: schema.CountRequest) -> Thinking:
    given = asked.thinking or {}
    kind, budget = given.get("type"), given.get("budget_tokens")
    effort = asked.output_config.effort if asked.output_config is not None else None
    return Thinking(
        on=kind not in ("disabled", "none") if isinstance(kind, str) else None,
        effort=effort,
        budget=budget if type(budget) is int else None,
    )


def _tools(asked: schema.CountRequest, omissions: Omissions) -> list[Tool]:
    """The client's tools. Those that a server has to run are left out."""
    found = []
    for place, tool in enumerate(asked.tools or ()):
        if isinstance(tool, schema.MessagesTool):
            found.append(Tool(tool.name, tool.description, tool.input_schema or NO_ARGUMENTS))
        else:
            omissions.leave_out("tool", tool.type, f"tools[{place}].type")
    return found


def _wish(choice: schema.MessagesToolChoice) -> ToolChoice:
    match choice.type:
        case "tool":
            if choice.name is None:
                raise ApiError(400, "a tool_choice of type 'tool' needs a name", param="tool_choice.name")
            return ToolChoice(named=choice.name)
        case "any":
            return ToolChoice("required")
        case mode:
            return ToolChoice(mode)
