"""Ollama's endpoints for chats, texts and embeddings: each is translated, and answered as OpenAI's are."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import Response

from lutmac.engine.sampling.results import Chunk, Completion
from lutmac.server.backend import Backend
from lutmac.server.chat import chat_turn
from lutmac.server.completions import completion_chunks
from lutmac.server.documents import error_responses, line_responses, model_for, models_of, record_of
from lutmac.server.embeddings import embedding_response
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError, of_validation
from lutmac.server.keep_alive import parse_keep_alive
from lutmac.server.logprobs import token_logprobs
from lutmac.server.logs import RequestRecord
from lutmac.server.ollama_input import chat_request, prompt_request, raw_request
from lutmac.server.schemas import ollama as schema
from lutmac.server.schemas.common import TokenLogprob
from lutmac.server.schemas.embeddings import EmbeddingRequest
from lutmac.server.streaming import LineStream
from lutmac.server.tools.lenient_json import closed_object
from lutmac.server.turn import TurnEvent, run_turn
from lutmac.text.length import bytes_per_token

router = new_router("Ollama")
T = TypeVar("T")
Lines = AsyncGenerator[schema.ChatResponse | schema.GenerateResponse, None]


@router.post("/api/chat", response_model=schema.ChatResponse, responses=line_responses(schema.Error))
async def chat(asked: schema.ChatRequest, request: Request) -> Response:
    """The next message of a conversation."""
    record, nothing = record_of(request), schema.ResponseMessage(content="")
    if not asked.messages and _ends(asked, request):
        return _unloaded(schema.ChatResponse, asked, request, message=nothing)
    backend = await model_for(request, asked, keep_alive=asked.keep_alive)
    if not asked.messages:
        return _loaded(schema.ChatResponse, backend.name, message=nothing)
    turn = await chat_turn(_valid(chat_request, asked), backend, record)
    return await _answer(_chat_lines(run_turn(backend, turn, record), backend), asked, backend, record, _joined_chat)


@router.post("/api/generate", response_model=schema.GenerateResponse, responses=line_responses(schema.Error))
async def generate(asked: schema.GenerateRequest, request: Request) -> Response:
    """The answer to a prompt, or its continuation."""
    record, is_empty = record_of(request), not asked.prompt and not asked.suffix
    if is_empty and _ends(asked, request):
        return _unloaded(schema.GenerateResponse, asked, request, response="")
    backend = await model_for(request, asked, keep_alive=asked.keep_alive)
    if is_empty:
        return _loaded(schema.GenerateResponse, backend.name, response="")
    if asked.raw or asked.suffix:
        chunks = await completion_chunks(_valid(raw_request, asked), backend, record)
        lines = _raw_lines(chunks, backend)
    else:
        turn = await chat_turn(_valid(prompt_request, asked), backend, record)
        lines = _prompt_lines(run_turn(backend, turn, record), backend)
    return await _answer(lines, asked, backend, record, _joined_text)


@router.post("/api/embed", responses=error_responses(schema.Error))
async def embed(asked: schema.EmbedRequest, request: Request) -> schema.EmbedResponse:
    """A vector for each text."""
    began = perf_counter()
    backend = await model_for(request, asked, keep_alive=asked.keep_alive)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    inputs: Any = [await _cut(text, backend) for text in texts] if asked.truncate else texts
    found = await _embedded(EmbeddingRequest(input=inputs, dimensions=asked.dimensions), backend, request)
    return schema.EmbedResponse(
        model=backend.name,
        embeddings=[item["embedding"] for item in found["data"]],
        total_duration=_nanoseconds(perf_counter() - began),
        prompt_eval_count=found["usage"]["prompt_tokens"],
    )


@router.post("/api/embeddings", responses=error_responses(schema.Error))
async def older_embed(asked: schema.OlderEmbedRequest, request: Request) -> schema.OlderEmbedResponse:
    """A text's vector, by the older endpoint."""
    backend = await model_for(request, asked, keep_alive=asked.keep_alive)
    found = await _embedded(EmbeddingRequest(input=[await _cut(asked.prompt, backend)]), backend, request)
    return schema.OlderEmbedResponse(embedding=found["data"][0]["embedding"])


async def _embedded(asked: EmbeddingRequest, backend: Backend, request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await embedding_response(asked, backend, record_of(request)))
    return found


async def _cut(text: str, backend: Backend) -> list[int]:
    """A text's token ids, as many as the context holds."""
    tokenizer, context = backend.model.tokenizer, backend.model.context
    longest = bytes_per_token(tokenizer)
    ids = await backend.encode(text if longest is None else text[: longest * context], parse_special=False)
    if len(ids) > context:
        ids = [*ids[: context - 1], ids[-1] if tokenizer.add_eos else ids[context - 1]]
    return ids


def _valid(translate: Callable[[T], Any], asked: T) -> Any:
    """The translated request. Raises ApiError (400) where a value is out of range."""
    try:
        return translate(asked)
    except ValidationError as error:
        raise of_validation(error.errors()) from None


@dataclass
class _Clock:
    """When things happened, for the figures at the end of an answer."""

    model: str
    began: float = field(default_factory=perf_counter)
    first_at: float | None = None

    def common(self) -> dict[str, Any]:
        """What each line says."""
        if self.first_at is None:
            self.first_at = perf_counter()
        return {"model": self.model, "created_at": now(), "done": False}

    def end(self, completion: Completion) -> dict[str, Any]:
        """What the last line says."""
        first = self.first_at or perf_counter()
        return {
            **self.common(),
            "done": True,
            "done_reason": completion.finish_reason,
            "total_duration": _nanoseconds(perf_counter() - self.began),
            "load_duration": 0,
            "prompt_eval_count": completion.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(first - self.began),
            "eval_count": len(completion.token_ids),
            "eval_duration": _nanoseconds(perf_counter() - first),
        }


async def _chat_lines(events: AsyncGenerator[TurnEvent, None], backend: Backend) -> Lines:
    clock = _Clock(backend.name)
    async with aclosing(events):
        async for event in events:
            calls = [
                {"function": {"name": call.name, "arguments": json.loads(closed_object(call.arguments))}}
                for call in event.calls
            ]
            thoughts, logprobs = event.thoughts or None, _logprobs(event, backend)
            if event.text or calls or thoughts or logprobs:
                message = schema.ResponseMessage(content=event.text, thinking=thoughts, tool_calls=calls or None)
                yield schema.ChatResponse(**clock.common(), message=message, logprobs=logprobs)
            if event.completion is not None:
                yield schema.ChatResponse(**clock.end(event.completion), message=schema.ResponseMessage(content=""))


async def _prompt_lines(events: AsyncGenerator[TurnEvent, None], backend: Backend) -> Lines:
    clock = _Clock(backend.name)
    async with aclosing(events):
        async for event in events:
            thoughts, logprobs = event.thoughts or None, _logprobs(event, backend)
            if event.text or thoughts or logprobs:
                yield schema.GenerateResponse(
                    **clock.common(), response=event.text, thinking=thoughts, logprobs=logprobs
                )
            if event.completion is not None:
                yield schema.GenerateResponse(**clock.end(event.completion), response="")


async def _raw_lines(chunks: AsyncGenerator[tuple[int, Chunk], None], backend: Backend) -> Lines:
    clock = _Clock(backend.name)
    async with aclosing(chunks):
        async for _, chunk in chunks:
            logprobs = token_logprobs(backend.model.tokenizer, chunk.logprobs or ()) or None
            if chunk.text or logprobs:
                yield schema.GenerateResponse(**clock.common(), response=chunk.text, logprobs=logprobs)
            if chunk.completion is not None:
                yield schema.GenerateResponse(**clock.end(chunk.completion), response="")


def _logprobs(event: TurnEvent, backend: Backend) -> list[TokenLogprob] | None:
    return token_logprobs(backend.model.tokenizer, event.logprobs) if event.logprobs else None


async def _answer(
    lines: Lines,
    asked: schema.Common,
    backend: Backend,
    record: RequestRecord,
    join: Callable[[list[Any]], schema.ChatResponse | schema.GenerateResponse],
) -> Response:
    if asked.stream:
        return LineStream(_written(lines), record, failure=_failure)
    async with aclosing(lines):
        found = join([line async for line in lines])
    return Response(found.model_dump_json(), media_type="application/json")


async def _written(lines: Lines) -> AsyncGenerator[bytes, None]:
    async with aclosing(lines):
        async for line in lines:
            yield line.model_dump_json().encode() + b"\n"


def _joined_chat(lines: list[schema.ChatResponse]) -> schema.ChatResponse:
    """The answer that the lines of a stream make together."""
    last = lines[-1]
    calls = [call for line in lines for call in line.message.tool_calls or ()]
    thoughts = "".join(line.message.thinking or "" for line in lines)
    text = "".join(line.message.content for line in lines)
    message = schema.ResponseMessage(content=text, thinking=thoughts or None, tool_calls=calls or None)
    return last.model_copy(update={"message": message, "logprobs": _all_logprobs(lines)})


def _joined_text(lines: list[schema.GenerateResponse]) -> schema.GenerateResponse:
    thoughts = "".join(line.thinking or "" for line in lines)
    text = "".join(line.response for line in lines)
    return lines[-1].model_copy(
        update={"response": text, "thinking": thoughts or None, "logprobs": _all_logprobs(lines)}
    )


def _all_logprobs(lines: list[Any]) -> list[TokenLogprob] | None:
    return [item for line in lines for item in line.logprobs or ()] or None


def _loaded(
    kind: type[schema.ChatResponse] | type[schema.GenerateResponse], name: str, reason: str = "load", **fields: Any
) -> Response:
    """The answer to a request that only wants the model loaded, or unloaded."""
    reply = kind(model=name, created_at=now(), done=True, done_reason=reason, **fields)
    return Response(reply.model_dump_json(), media_type="application/json")


def _ends(asked: schema.Common, request: Request) -> bool:
    """Whether the model is to be unloaded: what `ollama stop` sends, beside nothing to answer. An only model stays."""
    given = asked.keep_alive
    return models_of(request).are_several and given is not None and parse_keep_alive(given) == 0


def _unloaded(
    kind: type[schema.ChatResponse] | type[schema.GenerateResponse],
    asked: schema.Common,
    request: Request,
    **fields: Any,
) -> Response:
    models = models_of(request)
    served = models.find(asked.model)
    with suppress(ApiError):  # it is not loaded
        models.unload(served.name)
    return _loaded(kind, served.name, "unload", **fields)


def _failure(error: ApiError) -> bytes:
    return json.dumps(error.ollama()).encode() + b"\n"


def now() -> str:
    """The time, as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
