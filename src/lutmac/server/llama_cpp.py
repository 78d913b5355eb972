"""llama.cpp's own endpoints for completions: editors' plugins speak them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from lutmac.engine.sampling.results import Chunk
from lutmac.server.backend import Backend, Job
from lutmac.server.chat import failure_event, grammar_of
from lutmac.server.documents import model_for, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.infill import infill_prompt
from lutmac.server.limits import check_at_most, engine_options
from lutmac.server.llama_cpp_writer import LlamaCppWriter
from lutmac.server.logs import RequestRecord
from lutmac.server.schemas import llama_cpp as schema
from lutmac.server.streaming import EventStream
from lutmac.server.turn import numbered

router = new_router("llama.cpp")
INFILL_REPLY = 1024  # positions kept for what is filled in, where the client names no length


@router.post("/completion", responses=streaming_responses(), response_model=dict[str, Any] | list[dict[str, Any]])
async def completion(asked: schema.CompletionRequest, request: Request) -> Response:
    """Continuations of texts, in llama.cpp's form."""
    backend = await model_for(request, asked)
    given = _prompts(asked.prompt)
    check_at_most(len(given), backend.settings.limits.prompts, "prompt", "texts")
    prompts = [await _encoded(backend, one) for one in given]
    return await _answer(asked, prompts, backend, record_of(request), alone=len(given) == 1)


@router.post("/infill", responses=streaming_responses(), response_model=dict[str, Any] | list[dict[str, Any]])
async def infill(asked: schema.InfillRequest, request: Request) -> Response:
    """What stands between two texts, for models that know how to fill in."""
    backend = await model_for(request, asked)
    context = backend.model.context
    reply = min(INFILL_REPLY, context // 4) if asked.max_tokens < 0 else min(asked.max_tokens, context // 2)
    tokenizer, prefix = backend.model.tokenizer, asked.input_prefix + asked.prompt
    size = sum(map(len, (prefix, asked.input_suffix, *(file.text for file in asked.input_extra))))
    prompt = await backend.preparation.run(
        lambda: infill_prompt(tokenizer, prefix, asked.input_suffix, asked.input_extra, context - reply), size
    )
    return await _answer(asked, [prompt], backend, record_of(request), alone=True)


def _prompts(given: schema.Prompt) -> list[str | list[int | str]]:
    """One prompt for each text or list of tokens; a list with numbers in it is one prompt."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise ApiError(400, "prompt is empty", param="prompt")
    if any(isinstance(part, int) for part in given):
        if any(isinstance(part, list) for part in given):
            raise ApiError(400, "a prompt is token ids and texts, not lists of them", param="prompt")
        return [given]  # type: ignore[list-item]
    return given  # type: ignore[return-value]


async def _encoded(backend: Backend, prompt: str | list[int | str]) -> list[int]:
    """Token ids. BOS is added where the prompt begins with a text."""
    ids: list[int] = []
    for place, part in enumerate([prompt] if isinstance(prompt, str) else prompt):
        if isinstance(part, str):
            ids += await backend.encode(part, parse_special=True, add_special=place == 0, bounded=True, param="prompt")
        else:
            ids.append(part)
    if not ids:
        raise ApiError(400, "prompt is empty, and this model has no token to begin a text with", param="prompt")
    return ids


async def _answer(
    asked: schema.CompletionOptions, prompts: list[list[int]], backend: Backend, record: RequestRecord, *, alone: bool
) -> Response:
    """alone: whether the answer is an object and not a list."""
    check_at_most(asked.n_cmpl, backend.settings.limits.n, "n_cmpl", "replies")
    options = engine_options(asked, backend.settings.limits, max_tokens=asked.max_tokens)
    if asked.n_probs:
        options["logprobs"] = asked.n_probs
    grammar = await grammar_of(asked.response_format, backend, record)
    if grammar is not None:
        options["grammar"] = grammar
    progress = asked.stream and asked.return_progress
    jobs = [
        Job(prompt, numbered(options, place), "prompt", progress) for prompt in prompts for place in range(asked.n_cmpl)
    ]
    writers = [
        LlamaCppWriter(index, asked, backend.name, job.prompt, backend.model.tokenizer)
        for index, job in enumerate(jobs)
    ]
    events = backend.stream(jobs, record)
    if asked.stream:
        silence = backend.settings.timeouts.comment
        return EventStream(_stream(writers, events), record, failure=failure_event, silence=silence)
    async for _ in _stream(writers, events):
        pass
    found = [writer.whole() for writer in writers]
    return JSONResponse(found[0] if alone and len(found) == 1 else found)


async def _stream(
    writers: list[LlamaCppWriter], chunks: AsyncGenerator[tuple[int, Chunk], None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        async for index, chunk in chunks:
            writer = writers[index]
            if writer.done:
                continue
            event = writer.add(chunk)
            if chunk.text or chunk.progress is not None:
                yield _event(event)
            if writer.done:
                yield _event(writer.whole(in_stream=True))
            if all(other.done for other in writers):
                break


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"
