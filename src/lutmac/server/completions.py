"""/v1/completions: OpenAI's interface to a bare text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import time
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from lutmac.engine import results
from lutmac.engine.grammar import Grammar
from lutmac.server.backend import Backend, Job
from lutmac.server.chat import failure_event, grammar_of
from lutmac.server.documents import backend_of, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_at_most, engine_options
from lutmac.server.logprobs import LOWEST, token_text
from lutmac.server.schemas import completions as schema
from lutmac.server.schemas.common import PromptTokensDetails, Usage
from lutmac.server.streaming import DONE, EventStream, data_event
from lutmac.server.turn import numbered
from lutmac.text.tokenizer import Tokenizer

router = new_router("OpenAI")
DEFAULT_MAX_TOKENS = 16  # OpenAI's, for this endpoint


@router.post("/v1/completions", response_model=schema.CompletionReply, responses=streaming_responses())
async def completions(asked: schema.CompletionRequest, request: Request) -> Response:
    """Continuations of texts."""
    backend, record = backend_of(request), record_of(request)
    backend.accept(asked)
    n = _check(asked, backend)
    backend.check_replies(n * _prompt_count(asked.prompt), "n")
    most = backend.settings.limits.prompts
    prompts = await encode_prompts(backend, asked.prompt, "prompt", most, parse_special=True)
    grammar = await grammar_of(asked.response_format, backend, record)
    reply = _Reply(backend, asked, prompts, n)
    events = backend.stream(reply.jobs(grammar), record)
    if asked.stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        stream = _stream(reply, events, with_usage=usage)
        return EventStream(stream, record, failure=failure_event, silence=backend.settings.timeouts.comment)
    async with aclosing(events):
        async for index, chunk in events:
            reply.add(index, chunk)
    return Response(reply.whole().model_dump_json(), media_type="application/json")


async def encode_prompts(
    backend: Backend,
    given: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
    param: str,
    most: int,
    *,
    parse_special: bool,
) -> list[list[int]]:
    """Token ids of a text, of several, or as they are. Raises ApiError (400).

    parse_special: whether the texts of control tokens become these tokens.
    """
    one = isinstance(given, str) or (len(given) > 0 and isinstance(given[0], int))
    texts: Sequence[str | Sequence[int]] = [given] if one else given  # type: ignore[list-item, assignment]
    if not texts:
        raise ApiError(400, f"{param} is empty", param=param)
    check_at_most(len(texts), most, param, "texts")
    vocabulary = backend.model.info().vocab_size
    prompts = []
    for text in texts:
        ids = await backend.encode(text, parse_special=parse_special) if isinstance(text, str) else list(text)
        if not ids:
            raise ApiError(400, f"{param} is empty, and this model has no token to begin a text with", param=param)
        if max(ids) >= vocabulary:
            raise ApiError(400, f"token id {max(ids)} is not in the vocabulary of {vocabulary}", param=param)
        prompts.append(ids)
    return prompts


def _prompt_count(given: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]) -> int:
    """How many texts are to be continued."""
    return 1 if isinstance(given, str) or (given and isinstance(given[0], int)) else len(given)


def _check(asked: schema.CompletionRequest, backend: Backend) -> int:
    """How many continuations there are to be of each prompt."""
    n = asked.n or 1
    check_at_most(n, backend.settings.limits.n, "n", "replies")
    for param, wrong, message in (
        ("best_of", asked.best_of not in (None, n), "best_of other than n is not supported"),
        ("suffix", bool(asked.suffix), "suffix is not supported"),
        ("echo", bool(asked.echo and asked.logprobs is not None), "echo with logprobs is not supported"),
        ("max_tokens", asked.max_tokens == 0, "max_tokens is 0, expected at least 1"),
    ):
        if wrong:
            raise ApiError(400, message, param=param)
    return n


@dataclass
class _Choice:
    """What has come of one continuation. characters: of its text so far."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[results.TokenLogprob] = field(default_factory=list)
    characters: int = 0
    completion: results.Completion | None = None


class _Reply:
    """The continuations of one request, as far as they have come."""

    def __init__(self, backend: Backend, asked: schema.CompletionRequest, prompts: list[list[int]], n: int) -> None:
        self._backend = backend
        self._asked = asked
        self._prompts = prompts
        self._n = n
        self._id = f"cmpl-{uuid4().hex}"
        self._created = int(time())
        self.choices = [_Choice() for _ in range(n * len(prompts))]

    def jobs(self, grammar: Grammar | None) -> list[Job]:
        """What the engine is to do. grammar: what the texts have to fit."""
        asked = self._asked
        most = DEFAULT_MAX_TOKENS if asked.max_tokens is None else asked.max_tokens
        options = engine_options(asked, self._backend.settings.limits, max_tokens=most)
        if asked.logprobs is not None:
            options["logprobs"] = asked.logprobs
        if grammar is not None:
            options["grammar"] = grammar
        return [Job(prompt, numbered(options, place)) for prompt in self._prompts for place in range(self._n)]

    def add(self, index: int, chunk: results.Chunk) -> schema.CompletionChoice:
        """Takes a chunk in; returns what is new."""
        choice = self.choices[index]
        text = chunk.text
        if self._asked.echo and not choice.texts:
            text = self._prompt_text(index // self._n) + text
        logprobs = None
        if self._asked.logprobs is not None:
            found = chunk.logprobs or ()
            logprobs = _logprobs(self._backend.model.tokenizer, found, choice.characters)
            choice.logprobs += found
            choice.characters += sum(map(len, logprobs.tokens))
        choice.texts.append(text)
        choice.completion = chunk.completion
        return schema.CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason=chunk.finish_reason)

    def _prompt_text(self, place: int) -> str:
        given = self._asked.prompt
        text = given if isinstance(given, str) else given[place]
        return text if isinstance(text, str) else self._backend.model.tokenizer.decode(self._prompts[place])

    def whole(self) -> schema.CompletionReply:
        """The answer, once all have ended."""
        choices = []
        for index, choice in enumerate(self.choices):
            assert choice.completion is not None
            with_logprobs = self._asked.logprobs is not None
            logprobs = _logprobs(self._backend.model.tokenizer, choice.logprobs, 0) if with_logprobs else None
            text, reason = "".join(choice.texts), choice.completion.finish_reason
            choices.append(schema.CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason=reason))
        return self.message(choices, self.usage())

    def message(self, choices: list[schema.CompletionChoice], usage: Usage | None = None) -> schema.CompletionReply:
        """The answer, or an event."""
        return schema.CompletionReply(
            id=self._id, created=self._created, model=self._backend.name, choices=choices, usage=usage
        )

    def usage(self) -> Usage:
        """Tokens of the request, each prompt counted once."""
        prompt = sum(map(len, self._prompts))
        ended = [choice.completion for choice in self.choices if choice.completion is not None]
        generated = sum(len(completion.token_ids) for completion in ended)
        cached = sum(completion.cached_tokens for completion in ended[:: self._n])
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=generated,
            total_tokens=prompt + generated,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
        )


def _logprobs(tokenizer: Tokenizer, logprobs: Sequence[results.TokenLogprob], offset: int) -> schema.CompletionLogprobs:
    found = schema.CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for item in logprobs:
        text = token_text(tokenizer, item.token_id)
        found.tokens.append(text)
        found.token_logprobs.append(max(item.logprob, LOWEST))
        found.top_logprobs.append({token_text(tokenizer, id): max(value, LOWEST) for id, value in item.top})
        found.text_offset.append(offset)
        offset += len(text)
    return found


async def _stream(
    reply: _Reply, events: AsyncGenerator[tuple[int, results.Chunk], None], *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for index, chunk in events:
            choice = reply.add(index, chunk)
            if choice.text or choice.finish_reason is not None or (choice.logprobs and choice.logprobs.tokens):
                yield data_event(reply.message([choice]))
    if with_usage:
        yield data_event(reply.message([], reply.usage()))
    yield DONE
