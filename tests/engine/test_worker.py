"""Replies for asyncio callers, many at a time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

import lutmac
from lutmac.engine.generate import parse_options
from lutmac.engine.results import Chunk, Completion
from lutmac.errors import ContextOverflowError, EngineClosedError, InvalidRequestError, QueueFullError
from tiny_llama import CONTEXT, TinyLlama

PROMPTS = [list(range(n, n + 20 + 7 * n)) for n in range(20)]


@pytest.fixture
def model(tiny: TinyLlama) -> Iterator[lutmac.Model]:
    model = lutmac.load(tiny.path, threads=1)
    yield model
    model.worker.close()


async def read(model: lutmac.Model, prompt: list[int], **options: object) -> tuple[list[Chunk], Completion]:
    chunks = [chunk async for chunk in model.worker.stream(prompt, parse_options(options))]
    completion = chunks[-1].completion
    assert completion is not None
    return chunks, completion


def test_replies_that_run_together_are_those_that_run_alone(model: lutmac.Model) -> None:
    alone = [model.generate(p, max_tokens=20, seed=1, ignore_eos=True).token_ids for p in PROMPTS]

    async def together() -> list[tuple[list[Chunk], Completion]]:
        return await asyncio.gather(*(read(model, p, max_tokens=20, seed=1, ignore_eos=True) for p in PROMPTS))

    for (chunks, completion), expected in zip(asyncio.run(together()), alone, strict=True):
        assert completion.token_ids == expected
        assert tuple(id for chunk in chunks for id in chunk.token_ids) == expected
        assert "".join(chunk.text for chunk in chunks) == completion.text


def test_threads_and_asyncio_callers_share_the_engine(model: lutmac.Model) -> None:
    expected = model.generate(PROMPTS[3], max_tokens=30, seed=1, ignore_eos=True).token_ids

    async def both() -> tuple[tuple[list[Chunk], Completion], Completion]:
        generate = asyncio.to_thread(model.generate, PROMPTS[3], max_tokens=30, seed=1, ignore_eos=True)
        return await asyncio.gather(read(model, PROMPTS[3], max_tokens=30, seed=1, ignore_eos=True), generate)

    (_, streamed), generated = asyncio.run(both())
    assert streamed.token_ids == generated.token_ids == expected


def test_a_stream_that_is_closed_stops_its_sequence(model: lutmac.Model) -> None:
    async def close_early() -> None:
        stream = model.worker.stream(PROMPTS[0], parse_options({"max_tokens": None, "ignore_eos": True}))
        await anext(stream)
        assert model.worker.stats().running == 1
        await stream.aclose()
        await read(model, PROMPTS[1], max_tokens=2)
        assert model.worker.stats().running == 0
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    asyncio.run(close_early())


def test_a_cancelled_reader_stops_its_sequence(model: lutmac.Model) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(read(model, PROMPTS[0], max_tokens=None, ignore_eos=True))
        while not model.worker.stats().running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await read(model, PROMPTS[1], max_tokens=2)
        assert model.worker.stats().running == 0

    asyncio.run(cancel())


def test_beyond_the_queue_a_stream_is_refused(model: lutmac.Model) -> None:
    worker, params = model.worker, parse_options({"max_tokens": 1})
    worker.max_waiting = 2

    async def fill() -> None:
        streams = [worker.stream(PROMPTS[0], params) for _ in range(model.engine.max_sequences + 2)]
        with pytest.raises(QueueFullError, match="18"):
            worker.stream(PROMPTS[0], params)
        await streams.pop().aclose()
        del streams[0]  # unread and dropped
        assert [await anext(worker.stream(PROMPTS[0], params)) for _ in range(2)]

    asyncio.run(fill())


def test_mistakes_are_told_when_the_stream_is_asked_for(model: lutmac.Model) -> None:
    for prompt, error in (
        ([65] * CONTEXT, ContextOverflowError),
        ([], InvalidRequestError),
        ([-1], InvalidRequestError),
    ):
        with pytest.raises(error):
            model.worker.stream(prompt, parse_options({}))


def test_closing_lets_replies_finish(model: lutmac.Model) -> None:
    async def drain() -> Completion:
        reader = asyncio.create_task(read(model, PROMPTS[0], max_tokens=40, ignore_eos=True))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(model.worker.close, 60.0))
        _, completion = await reader
        await closing
        return completion

    assert len(asyncio.run(drain()).token_ids) == 40
    with pytest.raises(EngineClosedError):
        model.worker.stream(PROMPTS[0], parse_options({}))


def test_closing_ends_what_does_not_finish_in_time(model: lutmac.Model) -> None:
    async def cut() -> None:
        stream = model.worker.stream(PROMPTS[0], parse_options({"max_tokens": None, "ignore_eos": True}))
        await anext(stream)
        await asyncio.to_thread(model.worker.close)
        with pytest.raises(EngineClosedError):
            async for _ in stream:
                pass

    asyncio.run(cut())


def test_a_model_that_is_dropped_takes_its_worker_along(tiny: TinyLlama) -> None:
    model = lutmac.load(tiny.path, threads=1)
    asyncio.run(read(model, PROMPTS[0], max_tokens=2))
    engine = weakref.ref(model.engine)
    del model
    gc.collect()
    assert engine() is None
