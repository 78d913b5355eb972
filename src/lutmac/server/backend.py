"""A loaded model for the endpoints: takes prompts, returns chunks, and measures both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from lutmac.engine.generating.generate import parse_options
from lutmac.engine.model import Model
from lutmac.engine.running.share import Share
from lutmac.engine.sampling.results import Chunk
from lutmac.errors import ContextOverflowError
from lutmac.server.clients import current_client
from lutmac.server.errors import CONTEXT_OVERFLOW, ApiError
from lutmac.server.logs import RequestRecord
from lutmac.server.metrics import Metrics
from lutmac.server.observer import ChunkObserver
from lutmac.server.omissions import Omissions
from lutmac.server.preparation import Preparation
from lutmac.server.settings import Settings
from lutmac.text.chat import ChatPrompt, chat_prompt
from lutmac.text.length import byte_length, check_bytes, check_segments

P = ParamSpec("P")
T = TypeVar("T")
REPLY_ROOM = 1024  # positions for the reply, in the context that is proposed where one is too small
GRAMMAR_COST = 16  # a byte of a grammar costs as much as 16 bytes of text
_KEPT = frozenset({"system", "user"})  # roles of which templates leave nothing out
_RESERVED = frozenset({
    "messages", "tools", "tokenizer", "template", "add_generation_prompt", "bos_token", "eos_token", "self",
})  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A prompt's token ids and the engine's options for continuing it.

    param: where in the request the prompt is. tells_progress: whether chunks say how far the prompt has been read.
    """

    prompt: list[int]
    options: Mapping[str, Any]
    param: str | None = None
    tells_progress: bool = False


@dataclass
class Backend:
    """A model that is being served.

    names: what clients call it, the first is what it is listed as. settings, metrics, preparation, omissions: the
    server's. told_of_tools: whether the log says that the model may not know tools.
    """

    model: Model
    names: tuple[str, ...]
    settings: Settings
    metrics: Metrics
    preparation: Preparation
    omissions: Omissions
    told_of_tools: bool = False

    def __post_init__(self) -> None:
        """Gives the model's worker the server's bounds, and its threads for long work."""
        preparation, worker = self.preparation, self.model.worker
        worker.max_waiting = self.settings.limits.queue
        worker.run_slow = lambda work, size: preparation.run(work, GRAMMAR_COST * size)

    @property
    def name(self) -> str:
        """What the model is listed as."""
        return self.names[0]

    def overflow(self, error: ContextOverflowError, param: str | None) -> ApiError:
        """The error for a prompt that is too long, with what to do. param: where in the request the prompt is."""
        info, tokens = self.model.info(), error.tokens or 0
        wanted = min(info.trained_context, -(-(tokens + REPLY_ROOM) // 1024) * 1024)
        if wanted > max(tokens, info.context):
            more = round((wanted - info.context) * info.cache_bytes_per_position / 1e6)
            way_out = f"start with `--context {wanted}` (about {max(more, 1)} MB more)"
        else:
            way_out = f"the model was trained for {info.trained_context}: send less"
        return ApiError(400, f"{error}; {way_out}", code=CONTEXT_OVERFLOW, param=param)

    def check_replies(self, count: int, param: str) -> None:
        """Raises ApiError (400) for more replies to one request than can run and wait at all."""
        most = self.model.worker.max_places
        if count > most:
            raise ApiError(400, f"{count} replies are more than this server ever holds: at most {most}", param=param)

    async def encode(
        self,
        text: str,
        *,
        parse_special: bool,
        add_special: bool = True,
        bounded: bool = False,
        param: str | None = None,
    ) -> list[int]:
        """Token ids of a text. parse_special: whether the texts of control tokens in it become these tokens.

        bounded: raises ApiError (400) where they are certain not to fit into the context, without making all of them.
        param: where in the request the text is.
        """
        tokenizer, context = self.model.tokenizer, self.model.context

        def work() -> list[int]:
            if bounded:
                check_segments(tokenizer, [(text, parse_special)], context)
            return tokenizer.encode(text, parse_special=parse_special, add_special=add_special)

        try:
            return await self.preparation.run(work, byte_length(text))
        except ContextOverflowError as error:
            raise self.overflow(error, param) from None

    async def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        bounded: bool = False,
        param: str | None = None,
        **options: Any,
    ) -> ChatPrompt:
        """A conversation's prompt. variables: the template's. options: of `chat_prompt`, whose errors are raised.

        bounded, param: see encode.
        """
        for name in variables:
            if name in _RESERVED:
                raise ApiError(400, f"{name} is not for chat_template_kwargs to set", param="chat_template_kwargs")
        tokenizer, template = self.model.tokenizer, self.model.chat_template
        if bounded:
            options["most_tokens"] = self.model.context

        def work() -> ChatPrompt:
            return chat_prompt(
                tokenizer,
                template,
                messages,
                variables=variables,
                finds_replies=self.model.engine.by_role,
                **options,
            )

        try:
            if bounded:  # before the template is run
                kept = [message.get("content") for message in messages if message.get("role") in _KEPT]
                check_bytes(tokenizer, _text_bytes(kept), self.model.context)
            return await self.preparation.run(work, _text_bytes([messages, options.get("tools")]))
        except ContextOverflowError as error:
            raise self.overflow(error, param) from None

    async def stream(self, jobs: Sequence[Job], record: RequestRecord) -> AsyncGenerator[tuple[int, Chunk], None]:
        """Runs the jobs at once. Yields each chunk with the index of its job. Closing the iterator stops all jobs."""
        self.check_replies(len(jobs), "n")
        parsed = [(job.prompt, parse_options(job.options, self.model.sampling_defaults)) for job in jobs]
        record.model = self.name
        record.prompt_tokens = sum({id(job.prompt): len(job.prompt) for job in jobs}.values())
        observer = ChunkObserver(self.metrics, record, len(jobs))
        share = Share(current_client.get())
        async with AsyncExitStack() as stack:
            try:
                streams = [
                    await stack.enter_async_context(
                        aclosing(self.model.worker.stream(prompt, params, share, tells_progress=True))
                    )
                    for prompt, params in parsed
                ]
            except ContextOverflowError as error:
                raise self.overflow(error, jobs[0].param) from None
            items = await stack.enter_async_context(aclosing(_merged(streams)))
            async for place, chunk in items:
                observer.see(place, chunk)
                if chunk.progress is None or jobs[place].tells_progress:
                    yield place, chunk


def _text_bytes(value: Any) -> int:
    """Bytes of all texts in a value."""
    if isinstance(value, str):
        return byte_length(value)
    if isinstance(value, Mapping):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, Sequence) else 0


async def _merged(streams: Sequence[AsyncIterator[T]]) -> AsyncGenerator[tuple[int, T], None]:
    """Items of several streams as they come, each with the index of its stream. The first failure ends all."""
    if len(streams) == 1:
        async for item in streams[0]:
            yield 0, item
        return
    queue: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()

    async def forward(place: int, stream: AsyncIterator[T]) -> None:
        try:
            async for item in stream:
                queue.put_nowait((place, item))
        finally:
            queue.put_nowait(None)

    tasks = [asyncio.create_task(forward(place, stream)) for place, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            found = await queue.get()
            if found is not None:
                yield found
                continue
            left -= 1
            for task in tasks:
                if task.done():
                    task.result()  # raises what ended it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
