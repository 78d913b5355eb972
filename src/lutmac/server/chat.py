"""/v1/chat/completions: OpenAI's interface to a conversation."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from time import time
from typing import Any, TypeVar
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from lutmac.engine.grammar import Grammar
from lutmac.engine.results import Completion
from lutmac.server.backend import Backend, in_thread
from lutmac.server.documents import backend_of, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError, missing_parameter
from lutmac.server.limits import bounded, check_at_most, engine_options
from lutmac.server.logprobs import token_logprobs
from lutmac.server.logs import RequestRecord
from lutmac.server.reply_format import format_grammar
from lutmac.server.schemas import chat as schema
from lutmac.server.schemas.common import CompletionTokensDetails, PromptTokensDetails, TokenLogprob, Usage
from lutmac.server.streaming import DONE, EventStream, data_event
from lutmac.server.thinking import Thinking
from lutmac.server.tool_choice import chat_choice, chat_tools, choose_tools
from lutmac.server.tools import CallArguments, CallBegin, Part, Text, Thought, ToolCall
from lutmac.server.turn import Turn, TurnEvent, continues, run_turn

router = new_router("OpenAI")
T = TypeVar("T")


@router.post("/v1/chat/completions", response_model=schema.ChatCompletion, responses=streaming_responses())
async def chat_completions(asked: schema.ChatRequest, request: Request) -> Response:
    """The next message of a conversation."""
    backend, record = backend_of(request), record_of(request)
    backend.accept(asked)
    turn = await chat_turn(asked, backend, record)
    reply = _Reply(backend, bool(asked.logprobs), turn.n)
    events = run_turn(backend, turn, record)
    if asked.stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        stream = _stream(reply, events, with_usage=usage)
        return EventStream(stream, record, failure=failure_event, silence=backend.settings.timeouts.comment)
    async with aclosing(events):
        async for event in events:
            reply.add(event)
    return Response(reply.whole().model_dump_json(), media_type="application/json")


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


def usage_of(completions: list[Completion], thought_tokens: int = 0) -> Usage:
    """Tokens of one prompt and its replies. thought_tokens: of these, those that were thoughts."""
    prompt = completions[0].prompt_tokens
    generated = sum(len(completion.token_ids) for completion in completions)
    details = PromptTokensDetails(cached_tokens=completions[0].cached_tokens)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=generated,
        total_tokens=prompt + generated,
        prompt_tokens_details=details,
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=thought_tokens) if thought_tokens else None,
    )


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
    return Turn(
        messages=asked.messages,
        options=options,
        n=asked.n or 1,
        tools=tools,
        forced=forced,
        parallel=asked.parallel_tool_calls is not False,
        grammar=await grammar_of(asked.response_format, backend, record),
        thinking=Thinking(asked.enable_thinking, asked.reasoning_effort),
        continues=continues(asked.messages, wish=asked.continue_final_message, begins=asked.add_generation_prompt),
        begins=asked.add_generation_prompt is not False,
        template_arguments=asked.chat_template_kwargs or {},
    )


@dataclass
class _Choice:
    """What has come of one of the replies. begun: calls, the last of which may go on."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    begun: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    last: TurnEvent | None = None


class _Reply:
    """The replies to one request, as far as they have come."""

    def __init__(self, backend: Backend, with_logprobs: bool, n: int) -> None:
        self._backend = backend
        self._with_logprobs = with_logprobs
        self._id = f"chatcmpl-{uuid4().hex}"
        self._created = int(time())
        self.choices = [_Choice() for _ in range(n)]

    def add(self, event: TurnEvent) -> schema.ChoiceLogprobs | None:
        """Takes an event in; returns its log probabilities, if they were asked for."""
        choice = self.choices[event.index]
        choice.last = event
        choice.texts.append(event.text)
        choice.thoughts.append(event.thoughts)
        choice.calls += event.calls
        choice.begun += sum(isinstance(part, CallBegin) for part in event.parts)
        if not self._with_logprobs:
            return None
        found = token_logprobs(self._backend.model.tokenizer, event.logprobs)
        choice.logprobs += found
        return schema.ChoiceLogprobs(content=found)

    def whole(self) -> schema.ChatCompletion:
        """The answer, once all have ended."""
        choices = [self._choice(index, choice) for index, choice in enumerate(self.choices)]
        return schema.ChatCompletion(
            id=self._id, created=self._created, model=self._backend.name, choices=choices, usage=self.usage()
        )

    def usage(self) -> Usage:
        """Tokens of the request, once all have ended."""
        ended = [choice.last.completion for choice in self.choices if choice.last and choice.last.completion]
        return usage_of(ended, sum(choice.last.thought_tokens for choice in self.choices if choice.last))

    def chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: schema.ChoiceLogprobs | None = None,
        finish_reason: schema.FinishReason | None = None,
    ) -> bytes:
        """An event for one of the choices."""
        choice = schema.ChunkChoice(index=index, delta=delta, logprobs=logprobs, finish_reason=finish_reason)
        return self._event([choice])

    def usage_chunk(self) -> bytes:
        """The event that holds the usage."""
        return self._event([], self.usage())

    def _event(self, choices: list[schema.ChunkChoice], usage: Usage | None = None) -> bytes:
        return data_event(
            schema.ChatChunk(id=self._id, created=self._created, model=self._backend.name, choices=choices, usage=usage)
        )

    def _choice(self, index: int, choice: _Choice) -> schema.ChatChoice:
        assert choice.last is not None
        assert choice.last.finish_reason is not None
        text = "".join(choice.texts)
        calls = [schema.ToolCall(**_call(call)) for call in choice.calls]
        message = schema.AssistantMessage(
            content=text if text or not calls else None,
            reasoning_content="".join(choice.thoughts) or None,
            tool_calls=calls or None,
        )
        logprobs = schema.ChoiceLogprobs(content=choice.logprobs) if self._with_logprobs else None
        return schema.ChatChoice(
            index=index, message=message, logprobs=logprobs, finish_reason=choice.last.finish_reason
        )


async def _stream(
    reply: _Reply, events: AsyncGenerator[TurnEvent, None], *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            choice = reply.choices[event.index]
            if choice.last is None:
                yield reply.chunk(event.index, {"role": "assistant", "content": ""})
            begun = choice.begun
            logprobs = reply.add(event)
            for part in event.parts:
                begun += isinstance(part, CallBegin)
                delta = _delta(part, begun - 1)
                if delta is not None:
                    yield reply.chunk(event.index, delta, logprobs)
                    logprobs = None
            if logprobs is not None and logprobs.content:
                yield reply.chunk(event.index, {"content": ""}, logprobs)
            if event.finish_reason is not None:
                yield reply.chunk(event.index, {}, None, event.finish_reason)
    if with_usage:
        yield reply.usage_chunk()
    yield DONE


def _delta(part: Part, place: int) -> dict[str, Any] | None:
    """What a stream says of a part; place: of its call among the calls."""
    match part:
        case Text():
            return {"content": part.text}
        case Thought():
            return {"reasoning_content": part.text}
        case CallBegin():
            return {"tool_calls": [{"index": place, **_call(ToolCall(part.id, part.name, ""))}]}
        case CallArguments():
            return {"tool_calls": [{"index": place, "function": {"arguments": part.text}}]}
        case _:
            return None


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
