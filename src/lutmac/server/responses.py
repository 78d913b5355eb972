"""/v1/responses: OpenAI's newer interface. What can be done with a response afterwards is in `stored_responses`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import time
from uuid import uuid4

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response as HttpResponse

from lutmac.server.backend import Backend
from lutmac.server.documents import error_responses, held_by, model_for, models_of, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import engine_options
from lutmac.server.logs import RequestRecord
from lutmac.server.reply_format import format_grammar
from lutmac.server.response_events import ResponseWriter
from lutmac.server.response_input import input_items, item_messages, output_items
from lutmac.server.response_store import ResponseStore
from lutmac.server.schemas import responses as schema
from lutmac.server.schemas.chat import ChatMessage
from lutmac.server.schemas.common import JsonObject, SamplingOptions
from lutmac.server.schemas.responses import InputItem
from lutmac.server.streaming import EventStream
from lutmac.server.thinking import Thinking
from lutmac.server.tool_choice import choose_tools, response_choice, response_tools, tool_of
from lutmac.server.turn import Turn, TurnEvent, encode_turn, run_turn

router = new_router("OpenAI")
LOGPROBS = "message.output_text.logprobs"


@router.post("/v1/responses", response_model=schema.Response, responses=streaming_responses())
async def responses(asked: schema.ResponseRequest, request: Request) -> HttpResponse:
    """The answer to an input."""
    backend, record = await model_for(request, asked), record_of(request)
    store = models_of(request).responses
    turn, conversation = await _begin(asked, backend, store, record)
    writer = ResponseWriter(_empty(asked, backend, store), backend.model.tokenizer)
    if asked.background and not asked.stream:
        record = RequestRecord(record.request_id, record.method, record.path)
    written = _write(writer, run_turn(backend, turn, record), store, conversation)
    if asked.stream:
        return EventStream(written, record, failure=writer.failure, silence=backend.settings.timeouts.comment)
    if asked.background:
        held = held_by(request).pop_all()  # by the response instead
        models_of(request).background.start(writer, written, conversation, record, held)
    else:
        async with aclosing(written):
            async for _ in written:
                pass
    return HttpResponse(writer.response.model_dump_json(), media_type="application/json")


@router.post("/v1/responses/input_tokens", responses=error_responses())
async def count_input(asked: schema.ResponseRequest, request: Request) -> schema.InputTokens:
    """How many tokens the prompt of a request has."""
    backend, record = await model_for(request, asked), record_of(request)
    turn, _ = await _begin(asked, backend, models_of(request).responses, record)
    return schema.InputTokens(input_tokens=len((await encode_turn(backend, turn)).ids))


async def _begin(
    asked: schema.ResponseRequest, backend: Backend, store: ResponseStore, record: RequestRecord
) -> tuple[Turn, list[InputItem]]:
    """What a request asks for, and the conversation up to the response. Raises ApiError (400)."""
    _check(asked)
    before = store.items(asked.previous_response_id) if asked.previous_response_id is not None else []
    given = input_items(asked.input, backend.omissions)
    turn = await _turn(asked, item_messages(asked.instructions, before, given), backend, record)
    return turn, [*before, *given]


async def _write(
    writer: ResponseWriter, events: AsyncGenerator[TurnEvent, None], store: ResponseStore, asked: list[InputItem]
) -> AsyncGenerator[bytes, None]:
    """The events of a response. Stores it, if it is to be, before a client can know of its end."""
    begun = False
    async with aclosing(events):
        async for event in events:
            if not begun:
                begun = True
                for said in writer.begin():
                    yield said
            news = writer.add(event)
            if event.completion is not None and writer.response.store:
                store.put(writer.response, [*asked, *output_items(writer.response.output)], len(asked))
            for said in news:
                yield said


def _check(asked: schema.ResponseRequest) -> None:
    if asked.conversation is not None:
        raise ApiError(400, "conversation is not supported: go on with previous_response_id", param="conversation")
    if asked.background and asked.store is False:
        raise ApiError(400, "a response in the background has to be stored", param="background")


async def _turn(
    asked: schema.ResponseRequest, messages: list[ChatMessage], backend: Backend, record: RequestRecord
) -> Turn:
    sampling = SamplingOptions.model_validate({"temperature": asked.temperature, "top_p": asked.top_p})
    options = engine_options(sampling, backend.settings.limits, max_tokens=asked.max_output_tokens)
    if asked.top_logprobs is not None or LOGPROBS in (asked.include or ()):
        options["logprobs"] = asked.top_logprobs or 0
    given = [tool_of(tool) for tool in response_tools(asked.tools, backend.omissions)]
    tools, forced = choose_tools(given, response_choice(asked.tool_choice))
    form = asked.text.format if asked.text else None
    grammar = None
    if form is not None:
        grammar = await format_grammar(form.type, form.schema_, "text.format.schema", backend, record)
    return Turn(
        messages=messages,
        options=options,
        tools=tools,
        forced=forced,
        parallel=asked.parallel_tool_calls is not False,
        grammar=grammar,
        param="input",
        thinking=_thinking(asked.reasoning or {}),
    )


def _thinking(given: JsonObject) -> Thinking:
    effort, on = given.get("effort"), given.get("enabled")
    return Thinking(on if isinstance(on, bool) else None, effort if isinstance(effort, str) else None)


def _empty(asked: schema.ResponseRequest, backend: Backend, store: ResponseStore) -> schema.Response:
    """The response before anything is written."""
    format = asked.text.format if asked.text else None
    choice = asked.tool_choice
    return schema.Response(
        id=f"resp_{uuid4().hex}",
        created_at=int(time()),
        status="in_progress",
        background=bool(asked.background) and not asked.stream,
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        metadata=asked.metadata or {},
        model=backend.name,
        output=[],
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        previous_response_id=asked.previous_response_id,
        reasoning=asked.reasoning or {},
        store=store.enabled and asked.store is not False,
        temperature=asked.temperature,
        text={"format": format.model_dump(by_alias=True, exclude_none=True) if format else {"type": "text"}},
        tool_choice=choice.model_dump() if isinstance(choice, BaseModel) else choice or "auto",
        tools=[tool.model_dump(exclude_none=True) for tool in asked.tools or []],
        top_p=asked.top_p,
        user=asked.user,
    )
