"""Replies for asyncio callers, many at a time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.engine.embedding.embedding import TextBatch, embed
from lutmac.engine.generating.generate import parse_options
from lutmac.engine.sampling.results import Chunk, Completion
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


async def embedding(model: lutmac.Model, texts: list[list[int]]) -> np.ndarray:
    return await model.worker.embed(TextBatch(texts))


def test_embeddings_are_those_of_the_same_texts_alone(model: lutmac.Model) -> None:
    expected = embed(model.engine, TextBatch(PROMPTS))

    async def together() -> tuple[np.ndarray, np.ndarray, tuple[list[Chunk], Completion]]:
        reply = read(model, PROMPTS[3], max_tokens=30, seed=1, ignore_eos=True)
        return await asyncio.gather(embedding(model, PROMPTS), embedding(model, PROMPTS[::-1]), reply)

    found, backwards, (_, completion) = asyncio.run(together())
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(backwards[::-1], expected)
    assert completion.token_ids == model.generate(PROMPTS[3], max_tokens=30, seed=1, ignore_eos=True).token_ids


def test_one_text_and_a_reply_end_long_before_somebody_elses_many_texts(model: lutmac.Model) -> None:
    order: list[str] = []

    async def note(name: str, work: Coroutine[Any, Any, object]) -> None:
        await work
        order.append(name)

    async def crowd() -> None:
        many = [[kind] * 300 for kind in range(40)]
        hogs = [asyncio.create_task(note("hog", embedding(model, many))) for _ in range(4)]
        while not model.worker.stats().running:
            await asyncio.sleep(0.001)
        await asyncio.gather(
            note("text", embedding(model, [[7] * 20])), note("reply", read(model, PROMPTS[0], max_tokens=5))
        )
        for hog in hogs:
            hog.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)

    asyncio.run(crowd())
    assert sorted(order) == ["reply", "text"]


def test_a_request_of_long_texts_has_one_of_them_in_the_engine_at_a_time(model: lutmac.Model) -> None:
    async def most() -> int:
        task = asyncio.create_task(embedding(model, [[kind] * 300 for kind in range(5)]))
        seen = 0
        while not task.done():
            stats = model.worker.stats()
            seen = max(seen, stats.running + stats.waiting)
            await asyncio.sleep(0)
        return seen

    assert asyncio.run(most()) == 1


def test_embeddings_that_are_cancelled_leave_the_engine(model: lutmac.Model) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(embedding(model, [[kind] * 300 for kind in range(50)]))
        while not model.worker.stats().running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await embedding(model, [[1]])
        stats = model.worker.stats()
        assert (stats.running, stats.waiting, stats.pages_free) == (0, 0, stats.pages_total)

    asyncio.run(cancel())


def test_embeddings_take_a_place_in_the_queue(model: lutmac.Model) -> None:
    model.worker.max_waiting = 0

    async def fill() -> None:
        params = parse_options({"max_tokens": 1})
        streams = [model.worker.stream(PROMPTS[0], params) for _ in range(model.engine.max_sequences)]
        with pytest.raises(QueueFullError):
            await embedding(model, [[1]])
        await streams.pop().aclose()
        assert (await embedding(model, [[1]])).shape[0] == 1

    asyncio.run(fill())


def test_closing_lets_embeddings_finish(model: lutmac.Model) -> None:
    async def drain() -> np.ndarray:
        task = asyncio.create_task(embedding(model, [[kind] * 100 for kind in range(10)]))
        await asyncio.sleep(0)
        await asyncio.to_thread(model.worker.close, 60.0)
        return await task

    assert asyncio.run(drain()).shape[0] == 10


def test_embeddings_that_do_not_finish_in_time_are_told(model: lutmac.Model) -> None:
    async def cut() -> None:
        task = asyncio.create_task(embedding(model, [[1] * 300] * 200))
        while not model.worker.stats().running:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(model.worker.close)
        with pytest.raises(EngineClosedError):
            await task

    asyncio.run(cut())
