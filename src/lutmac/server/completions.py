"""/v1/completions: OpenAI's interface to a bare text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import time
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from lutmac.engine.sampling import results
from lutmac.engine.sampling.grammar import Grammar
from lutmac.server.backend import Backend, Job
from lutmac.server.chat import failure_event, grammar_of
from lutmac.server.completion_logprobs import LogprobWriter, join_logprobs
from lutmac.server.documents import model_for, record_of, streaming_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_at_most, engine_options
from lutmac.server.logprobs import token_text
from lutmac.server.logs import RequestRecord
from lutmac.server.prompt_input import encode_prompts
from lutmac.server.schemas import completions as schema
from lutmac.server.schemas.common import PromptTokensDetails, StreamOptions, Usage
from lutmac.server.streaming import DONE, EventStream, data_event
from lutmac.server.turn import numbered

router = new_router("OpenAI")
DEFAULT_MAX_TOKENS = 16  # OpenAI's, for this endpoint


@router.post("/v1/completions", response_model=schema.CompletionResponse, responses=streaming_responses())
async def completions(asked: schema.CompletionRequest, request: Request) -> Response:
    """Continuations of texts."""
    backend, record = await model_for(request, asked), record_of(request)
    writer = await _begin(asked, backend)
    events = await _run(writer, asked, backend, record)
    if asked.stream:
        stream = _stream(writer, events, asked.stream_options)
        return EventStream(stream, record, failure=failure_event, silence=backend.settings.timeouts.comment)
    async with aclosing(events):
        async for index, chunk in events:
            writer.add(index, chunk)
    return Response(writer.whole().model_dump_json(), media_type="application/json")


async def completion_chunks(
    asked: schema.CompletionRequest, backend: Backend, record: RequestRecord
) -> AsyncGenerator[tuple[int, results.Chunk], None]:
    """The continuations as they come, for other interfaces to a bare text. Raises ApiError (400)."""
    return await _run(await _begin(asked, backend), asked, backend, record)


async def _begin(asked: schema.CompletionRequest, backend: Backend) -> _CompletionWriter:
    made = _check(asked, backend)
    backend.check_replies(made * _prompt_count(asked.prompt), "n")
    return _CompletionWriter(backend, asked, await _prompts(asked, backend), made)


async def _run(
    writer: _CompletionWriter, asked: schema.CompletionRequest, backend: Backend, record: RequestRecord
) -> AsyncGenerator[tuple[int, results.Chunk], None]:
    grammar = await grammar_of(asked.response_format, backend, record)
    return backend.stream(writer.jobs(grammar), record)


def _prompt_count(given: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]) -> int:
    """How many texts are to be continued."""
    return 1 if isinstance(given, str) or (given and isinstance(given[0], int)) else len(given)


def _check(asked: schema.CompletionRequest, backend: Backend) -> int:
    """How many continuations are to be made of each prompt. Raises ApiError (400)."""
    n = asked.n or 1
    made = asked.best_of or n
    check_at_most(n, backend.settings.limits.n, "n", "replies")
    check_at_most(made, backend.settings.limits.n, "best_of", "replies")
    scored = bool(asked.echo) and asked.logprobs is not None
    for param, wrong, message in (
        ("best_of", made < n, f"best_of is {made}, less than the {n} replies that n asks for"),
        ("best_of", made > n and bool(asked.stream), "with best_of above n, which are the best is known in the end: "
         "leave stream out"),
        ("echo", bool(asked.suffix) and scored, "echo with logprobs is not supported where there is a suffix"),
    ):  # fmt: skip
        if wrong:
            raise ApiError(400, message, param=param)
    return made


async def _prompts(asked: schema.CompletionRequest, backend: Backend) -> list[list[int]]:
    """Token ids of each prompt. Raises ApiError (400)."""
    most = backend.settings.limits.prompts
    if not asked.suffix:
        prompts = await encode_prompts(
            backend, asked.prompt, "prompt", most, parse_special=True, add_special=asked.add_special_tokens
        )
        if asked.echo and asked.logprobs is not None:
            entries = sum(map(len, prompts)) * (asked.logprobs + 1)
            check_at_most(entries, backend.settings.limits.prompt_logprobs, "logprobs", "log probabilities of prompts")
        return prompts
    texts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    check_at_most(len(texts), most, "prompt", "texts")
    return [await _fill_prompt(text, asked.suffix, backend) for text in texts]


async def _fill_prompt(text: object, suffix: str, backend: Backend) -> list[int]:
    if not isinstance(text, str):
        raise ApiError(400, "with a suffix, a prompt has to be a text", param="prompt")
    if backend.model.tokenizer.vocabulary.fill_marks is None:
        raise ApiError(400, "this model cannot fill in the middle: its vocabulary has no marks for it", param="suffix")
    encode_fill, before = backend.model.tokenizer.encode_fill, text
    return await backend.preparation.run(lambda: encode_fill(before, suffix), len(text) + len(suffix))


@dataclass
class _Choice:
    """What has come of one continuation. writer: of its log probabilities, where they are wanted."""

    writer: LogprobWriter | None
    texts: list[str] = field(default_factory=list)
    logprobs: list[schema.CompletionLogprobs] = field(default_factory=list)
    tokens: int = 0
    completion: results.Completion | None = None

    @property
    def mean_logprob(self) -> float:
        """Log probability per token, that of the end counted, once it has ended with log probabilities."""
        assert self.completion is not None
        ended = self.completion.end_logprob
        found = [*(self.completion.logprobs or ()), *([ended] if ended is not None else [])]
        return sum(token.logprob for token in found) / max(1, len(found))


class _CompletionWriter:
    """The continuations of one request, as far as they have come."""

    def __init__(self, backend: Backend, asked: schema.CompletionRequest, prompts: list[list[int]], made: int) -> None:
        """made: how many continuations of each prompt, of which the best n are the answer."""
        self._backend = backend
        self._asked = asked
        self._prompts = prompts
        self._n = asked.n or 1
        self._made = made
        self._id = f"cmpl-{uuid4().hex}"
        self._created = int(time())
        self.choices = [_Choice(self._writer(place // made)) for place in range(made * len(prompts))]

    def jobs(self, grammar: Grammar | None) -> list[Job]:
        """What the engine is to do. grammar: what the texts have to fit."""
        asked = self._asked
        most = DEFAULT_MAX_TOKENS if asked.max_tokens is None else asked.max_tokens
        options = engine_options(asked, self._backend.settings.limits, max_tokens=most)
        if asked.logprobs is not None:
            options["logprobs"] = asked.logprobs
            if asked.echo:
                options["prompt_logprobs"] = asked.logprobs
        elif self._made > self._n:
            options["logprobs"] = 0
        if grammar is not None:
            options["grammar"] = grammar
        return [
            Job(prompt, numbered(options, place), "prompt") for prompt in self._prompts for place in range(self._made)
        ]

    def add(self, index: int, chunk: results.Chunk) -> schema.CompletionChoice:
        """Takes a chunk in; returns what is new."""
        choice = self.choices[index]
        text = chunk.text
        if self._asked.echo and not choice.texts:
            text = self._prompt_text(index // self._made) + text
        logprobs = None
        if choice.writer is not None:
            logprobs = choice.writer.write(chunk)
            choice.logprobs.append(logprobs)
        choice.texts.append(text)
        choice.tokens += len(chunk.token_ids)
        choice.completion = chunk.completion
        return schema.CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason=chunk.finish_reason)

    def _prompt_text(self, place: int) -> str:
        given = self._asked.prompt
        text = given if isinstance(given, str) else given[place]
        if isinstance(text, str):
            return text
        return self._backend.model.tokenizer.decode(self._prompts[place], skip_special=False)

    def _writer(self, place: int) -> LogprobWriter | None:
        if self._asked.logprobs is None:
            return None
        tokenizer, prompt = self._backend.model.tokenizer, self._prompts[place]
        begins_with_bos = prompt[0] == tokenizer.bos_id
        hidden = int(begins_with_bos and not self._prompt_text(place).startswith(token_text(tokenizer, prompt[0])))
        return LogprobWriter(tokenizer, prompt, echo=bool(self._asked.echo), hidden=hidden)

    def whole(self) -> schema.CompletionResponse:
        """The answer, once all have ended."""
        choices = []
        for index, choice in enumerate(self._best()):
            assert choice.completion is not None
            logprobs = join_logprobs(choice.logprobs) if choice.writer is not None else None
            text, reason = "".join(choice.texts), choice.completion.finish_reason
            choices.append(schema.CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason=reason))
        return self.message(choices, self.usage())

    def _best(self) -> Iterator[_Choice]:
        """Of each prompt's continuations those that are the answer, of several that were tried the likeliest first."""
        for begin in range(0, len(self.choices), self._made):
            of_prompt = self.choices[begin : begin + self._made]
            if self._made > self._n:
                of_prompt = sorted(of_prompt, key=lambda choice: choice.mean_logprob, reverse=True)
            yield from of_prompt[: self._n]

    def message(self, choices: list[schema.CompletionChoice], usage: Usage | None = None) -> schema.CompletionResponse:
        """The answer, or an event."""
        return schema.CompletionResponse(
            id=self._id, created=self._created, model=self._backend.name, choices=choices, usage=usage
        )

    def usage_so_far(self) -> Usage:
        """Tokens up to now."""
        prompt, made = sum(map(len, self._prompts)), sum(choice.tokens for choice in self.choices)
        return Usage(prompt_tokens=prompt, completion_tokens=made, total_tokens=prompt + made)

    def usage(self) -> Usage:
        """Tokens of the request, each prompt counted once."""
        prompt = sum(map(len, self._prompts))
        ended = [choice.completion for choice in self.choices if choice.completion is not None]
        generated = sum(len(completion.token_ids) for completion in ended)
        cached = sum(completion.cached_tokens for completion in ended[:: self._made])
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=generated,
            total_tokens=prompt + generated,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
        )


async def _stream(
    writer: _CompletionWriter, events: AsyncGenerator[tuple[int, results.Chunk], None], options: StreamOptions | None
) -> AsyncGenerator[bytes, None]:
    tells_usage = bool(options and options.continuous_usage_stats)
    async with aclosing(events):
        async for index, chunk in events:
            choice = writer.add(index, chunk)
            if choice.text or choice.finish_reason is not None or (choice.logprobs and choice.logprobs.tokens):
                yield data_event(writer.message([choice], writer.usage_so_far() if tells_usage else None))
    if options is not None and options.include_usage:
        yield data_event(writer.message([], writer.usage()))
    yield DONE
