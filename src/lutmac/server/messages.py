"""/v1/messages: Anthropic's interface, which coding agents speak."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from lutmac.engine.grammar import Grammar
from lutmac.engine.results import Completion
from lutmac.server.backend import Backend
from lutmac.server.documents import backend_of, error_responses, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_stops, engine_options
from lutmac.server.logs import RequestRecord
from lutmac.server.message_input import chat_messages
from lutmac.server.omissions import Omissions
from lutmac.server.reply_format import format_grammar
from lutmac.server.schemas import messages as schema
from lutmac.server.schemas.common import SamplingOptions
from lutmac.server.streaming import EventStream, named_event
from lutmac.server.tool_choice import NO_ARGUMENTS, ToolChoice, choose_tools
from lutmac.server.tools import Tool, ToolCall
from lutmac.server.turn import Turn, TurnEvent, encode_turn, run_turn

router = new_router("Anthropic")


@router.post("/v1/messages", response_model=schema.Message, responses=streaming_responses(schema.AnthropicError))
async def messages(asked: schema.MessagesRequest, request: Request) -> Response:
    """The next message of a conversation."""
    backend, record = backend_of(request), record_of(request)
    backend.accept(asked)
    stops = check_stops(asked.stop_sequences, backend.settings.limits, "stop_sequences")
    sampling = SamplingOptions(temperature=asked.temperature, top_p=asked.top_p, top_k=asked.top_k, stop=stops or None)
    options = engine_options(sampling, backend.settings.limits, max_tokens=asked.max_tokens)
    reply = _Reply(backend)
    events = run_turn(backend, _turn(asked, options, backend, await _grammar(asked, backend, record)), record)
    if asked.stream:
        stream = _stream(reply, events)
        return EventStream(stream, record, failure=_failure, silence=backend.settings.timeouts.comment)
    async with aclosing(events):
        async for event in events:
            reply.add(event)
    return Response(reply.whole().model_dump_json(), media_type="application/json")


@router.post("/v1/messages/count_tokens", responses=error_responses(schema.AnthropicError))
async def count_tokens(asked: schema.CountRequest, request: Request) -> schema.CountReply:
    """How many tokens a conversation has."""
    backend = backend_of(request)
    backend.accept(asked)
    return schema.CountReply(input_tokens=len(await encode_turn(backend, _turn(asked, {}, backend))))


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
    return Turn(
        messages=chat_messages(asked.system, asked.messages),
        options=options,
        tools=tools,
        forced=forced,
        parallel=not choice.disable_parallel_tool_use,
        grammar=grammar,
        param=None,
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


@dataclass
class _Reply:
    """The reply as far as it has come. blocks: texts and calls in order."""

    backend: Backend
    id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")
    blocks: list[schema.TextBlock | schema.ToolUseBlock] = field(default_factory=list)
    last: TurnEvent | None = None

    def add(self, event: TurnEvent) -> None:
        """Takes an event in."""
        self.last = event
        if event.text:
            if self.blocks and isinstance(self.blocks[-1], schema.TextBlock):
                self.blocks[-1].text += event.text
            else:
                self.blocks.append(schema.TextBlock(text=event.text))
        self.blocks += [schema.ToolUseBlock(id=c.id, name=c.name, input=json.loads(c.arguments)) for c in event.calls]

    def whole(self) -> schema.Message:
        """The answer, once it has ended."""
        assert self.last is not None
        assert self.last.completion is not None
        reason, sequence = self.stop()
        return schema.Message(
            id=self.id,
            model=self.backend.name,
            content=self.blocks,
            stop_reason=reason,
            stop_sequence=sequence,
            usage=_usage(self.last.completion),
        )

    def beginning(self, prompt_tokens: int) -> schema.Message:
        """What is known at its beginning."""
        usage = schema.MessagesUsage(input_tokens=prompt_tokens, cache_read_input_tokens=0, output_tokens=0)
        return schema.Message(
            id=self.id, model=self.backend.name, content=[], stop_reason=None, stop_sequence=None, usage=usage
        )

    def stop(self) -> tuple[schema.StopReason, str | None]:
        """Why it ended, and at which of the stop strings."""
        assert self.last is not None
        assert self.last.completion is not None
        if self.last.finish_reason == "tool_calls":
            return "tool_use", None
        if self.last.finish_reason == "length":
            return "max_tokens", None
        sequence = self.last.completion.stop_string
        return ("end_turn" if sequence is None else "stop_sequence"), sequence


def _usage(completion: Completion) -> schema.MessagesUsage:
    return schema.MessagesUsage(
        input_tokens=completion.prompt_tokens - completion.cached_tokens,
        cache_read_input_tokens=completion.cached_tokens,
        output_tokens=len(completion.token_ids),
    )


async def _stream(reply: _Reply, events: AsyncGenerator[TurnEvent, None]) -> AsyncGenerator[bytes, None]:
    place, open_text = -1, False
    async with aclosing(events):
        async for event in events:
            if reply.last is None:
                yield _event("message_start", message=reply.beginning(event.prompt_tokens).model_dump())
                yield _event("ping")
            reply.add(event)
            if event.text:
                if not open_text:
                    place, open_text = place + 1, True
                    yield _event("content_block_start", index=place, content_block={"type": "text", "text": ""})
                yield _event("content_block_delta", index=place, delta={"type": "text_delta", "text": event.text})
            for call in event.calls:
                if open_text:
                    yield _event("content_block_stop", index=place)
                place, open_text = place + 1, False
                for said in _call_events(call, place):
                    yield said
            if event.completion is not None:
                if open_text:
                    yield _event("content_block_stop", index=place)
                reason, sequence = reply.stop()
                delta = {"stop_reason": reason, "stop_sequence": sequence}
                yield _event("message_delta", delta=delta, usage=_usage(event.completion).model_dump())
    yield _event("message_stop")


def _call_events(call: ToolCall, place: int) -> list[bytes]:
    block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": call.arguments}
    return [
        _event("content_block_start", index=place, content_block=block),
        _event("content_block_delta", index=place, delta=delta),
        _event("content_block_stop", index=place),
    ]


def _event(name: str, **fields: Any) -> bytes:
    return named_event(name, json.dumps({"type": name, **fields}))


def _failure(error: ApiError) -> bytes:
    return named_event("error", json.dumps(error.anthropic(None)))
