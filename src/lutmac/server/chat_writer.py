"""Chat completions as OpenAI writes them, whole or in events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from time import time
from typing import Any
from uuid import uuid4

from lutmac.engine.sampling.results import Completion, PromptProgress
from lutmac.server.backend import Backend
from lutmac.server.llama_cpp_writer import progress_fields
from lutmac.server.logprobs import token_logprobs
from lutmac.server.schemas import chat as schema
from lutmac.server.schemas.common import (
    CompletionTokensDetails,
    PromptTokensDetails,
    StreamOptions,
    TokenLogprob,
    Usage,
)
from lutmac.server.streaming import DONE, data_event
from lutmac.server.tools import CallArguments, CallBegin, Part, Text, Thought, ToolCall
from lutmac.server.turn import TurnEvent


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


@dataclass
class _Choice:
    """What has come of one of the replies. begun: calls, the last of which may go on."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    begun: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    last: TurnEvent | None = None


class ChatWriter:
    """The replies to one request, as far as they have come. tells_usage: whether each event says the tokens so far."""

    def __init__(self, backend: Backend, n: int, *, logprobs: bool, older: bool) -> None:
        """n: replies. logprobs: whether they were asked for. older: whether calls are of functions, not of tools."""
        self._backend = backend
        self._with_logprobs = logprobs
        self.older = older
        self._id = f"chatcmpl-{uuid4().hex}"
        self._created = int(time())
        self.tells_usage = False
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
        reason = _reason(finish_reason, older=self.older)
        choice = schema.ChunkChoice(index=index, delta=delta, logprobs=logprobs, finish_reason=reason)
        return self._event([choice], usage=self._usage_so_far() if self.tells_usage else None)

    def usage_chunk(self) -> bytes:
        """The event that holds the usage."""
        return self._event([], usage=self.usage())

    def progress_chunk(self, index: int, progress: PromptProgress) -> bytes:
        """An event that says how far the prompt has been read."""
        return self._event([schema.ChunkChoice(index=index, delta={})], prompt_progress=progress_fields(progress))

    def _usage_so_far(self) -> Usage:
        begun = [choice.last for choice in self.choices if choice.last is not None]
        prompt, made = max((event.prompt_tokens for event in begun), default=0), sum(event.tokens for event in begun)
        return Usage(prompt_tokens=prompt, completion_tokens=made, total_tokens=prompt + made)

    def _event(self, choices: list[schema.ChunkChoice], **fields: Any) -> bytes:
        return data_event(
            schema.ChatChunk(id=self._id, created=self._created, model=self._backend.name, choices=choices, **fields)
        )

    def _choice(self, index: int, choice: _Choice) -> schema.ChatChoice:
        assert choice.last is not None
        assert choice.last.finish_reason is not None
        text = "".join(choice.texts)
        calls = [schema.ToolCall(**_call(call)) for call in choice.calls]
        message = schema.AssistantMessage(
            content=text if text or not calls else None,
            reasoning_content="".join(choice.thoughts) or None,
            tool_calls=calls if calls and not self.older else None,
            function_call=calls[0].function if calls and self.older else None,
        )
        logprobs = schema.ChoiceLogprobs(content=choice.logprobs) if self._with_logprobs else None
        reason = _reason(choice.last.finish_reason, older=self.older)
        assert reason is not None
        return schema.ChatChoice(index=index, message=message, logprobs=logprobs, finish_reason=reason)


async def chat_events(
    writer: ChatWriter, events: AsyncGenerator[TurnEvent, None], options: StreamOptions | None
) -> AsyncGenerator[bytes, None]:
    """The events of a stream. options: what they hold beside the replies."""
    writer.tells_usage = bool(options and options.continuous_usage_stats)
    async with aclosing(events):
        async for event in events:
            if event.progress is not None:
                yield writer.progress_chunk(event.index, event.progress)
                continue
            choice = writer.choices[event.index]
            is_first, begun = choice.last is None, choice.begun
            logprobs = writer.add(event)
            if is_first:
                yield writer.chunk(event.index, {"role": "assistant", "content": ""})
            for part in event.parts:
                begun += isinstance(part, CallBegin)
                delta = _older_delta(part) if writer.older else _delta(part, begun - 1)
                if delta is not None:
                    yield writer.chunk(event.index, delta, logprobs)
                    logprobs = None
            if logprobs is not None and logprobs.content:
                yield writer.chunk(event.index, {"content": ""}, logprobs)
            if event.finish_reason is not None:
                yield writer.chunk(event.index, {}, None, event.finish_reason)
    if options is not None and options.include_usage:
        yield writer.usage_chunk()
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


def _older_delta(part: Part) -> dict[str, Any] | None:
    """The same for clients that speak of functions."""
    match part:
        case CallBegin():
            return {"function_call": {"name": part.name, "arguments": ""}}
        case CallArguments():
            return {"function_call": {"arguments": part.text}}
        case _:
            return _delta(part, 0)


def _reason(reason: Any, *, older: bool) -> schema.FinishReason | None:
    """Why a reply ended, in the client's words."""
    found: schema.FinishReason | None = "function_call" if older and reason == "tool_calls" else reason
    return found


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
