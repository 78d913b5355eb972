"""/v1/chat/completions: OpenAI's interface to a conversation."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request
from starlette.responses import Response

from lutmac.engine.sampling.grammar import Grammar
from lutmac.server.backend import Backend
from lutmac.server.chat_writer import ChatWriter, chat_events
from lutmac.server.documents import model_for, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError, missing_parameter
from lutmac.server.limits import bounded, check_at_most, engine_options
from lutmac.server.logs import RequestRecord
from lutmac.server.preparation import in_thread
from lutmac.server.reply_format import format_grammar
from lutmac.server.schemas import chat as schema
from lutmac.server.streaming import EventStream
from lutmac.server.thinking import Thinking
from lutmac.server.tool_choice import chat_choice, chat_tools, choose_tools
from lutmac.server.turn import Turn, continues, run_turn

router = new_router("OpenAI")
T = TypeVar("T")


@router.post("/v1/chat/completions", response_model=schema.ChatCompletion, responses=streaming_responses())
async def chat_completions(asked: schema.ChatRequest, request: Request) -> Response:
    """The next message of a conversation."""
    backend, record = await model_for(request, asked), record_of(request)
    turn = await chat_turn(asked, backend, record)
    writer = ChatWriter(backend, turn.n, logprobs=bool(asked.logprobs), older=_is_older(asked))
    events = run_turn(backend, turn, record)
    if asked.stream:
        stream = chat_events(writer, events, asked.stream_options)
        return EventStream(stream, record, failure=failure_event, silence=backend.settings.timeouts.comment)
    async with aclosing(events):
        async for event in events:
            writer.add(event)
    return Response(writer.whole().model_dump_json(), media_type="application/json")


def failure_event(error: ApiError) -> bytes:
    """How a stream says that it failed."""
    return b"data: " + json.dumps(error.openai()).encode() + b"\n\n"


async def grammar_of(format: schema.ResponseFormat | None, backend: Backend, record: RequestRecord) -> Grammar | None:
    """What a reply has to fit. Raises what `format_grammar` raises."""
    if format is None:
        return None
    match format.type:
        case "regex":
            return Grammar.regex(_required(format.pattern, "response_format.pattern"))
        case "grammar":
            return await in_thread(Grammar.gbnf, _required(format.grammar, "response_format.grammar"))
        case "choice":
            return Grammar.choice(_required(format.choices, "response_format.choices"))
        case kind:
            given = format.json_schema.schema_ if format.json_schema is not None else None
            return await format_grammar(kind, given, "response_format.json_schema", backend, record)


def _required(value: T | None, param: str) -> T:
    if value is None:
        raise missing_parameter(param)
    return value


def _check(asked: schema.ChatRequest, backend: Backend) -> None:
    check_at_most(asked.n or 1, backend.settings.limits.n, "n", "replies")
    if asked.top_logprobs and not asked.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", param="top_logprobs")


async def chat_turn(asked: schema.ChatRequest, backend: Backend, record: RequestRecord) -> Turn:
    """What a request asks for. Raises ApiError (400)."""
    _check(asked, backend)
    limits = backend.settings.limits
    most = bounded(asked.max_tokens, asked.max_completion_tokens)
    options = engine_options(asked, limits, max_tokens=most)
    if asked.logprobs:
        options["logprobs"] = asked.top_logprobs or 0
    tools, forced = choose_tools(chat_tools(asked.tools, asked.functions, backend.omissions), chat_choice(asked))
    grammar = await grammar_of(asked.response_format, backend, record)
    wish, begins = asked.continue_final_message, asked.add_generation_prompt
    return Turn(
        messages=asked.messages,
        options=options,
        n=asked.n or 1,
        tools=tools,
        forced=forced,
        parallel=asked.parallel_tool_calls is not False and not _is_older(asked),
        grammar=grammar,
        thinking=Thinking(asked.enable_thinking, asked.reasoning_effort),
        continues=continues(asked.messages, wish=wish, begins=begins, bound=bool(forced or grammar)),
        begins=begins is not False,
        template_arguments=asked.chat_template_kwargs or {},
        tells_progress=bool(asked.stream and asked.return_progress),
    )


def _is_older(asked: schema.ChatRequest) -> bool:
    """Whether the client speaks of functions, not tools: it is answered in the same words."""
    return asked.functions is not None and not asked.tools
