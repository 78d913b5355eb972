"""Pages and memory come back."""

from __future__ import annotations

import gc
import weakref

import pytest

import lutmac
from lutmac.engine.running.kv_cache import pages_for
from lutmac.engine.running.memory import FULL_SEQUENCES
from tiny_llama import CONTEXT, TinyLlama

PROMPT = "Once upon a time"
ALL_PAGES = pages_for(CONTEXT) * FULL_SEQUENCES


@pytest.fixture
def model(tiny: TinyLlama) -> lutmac.Model:
    return lutmac.load(tiny.path, threads=1)


def test_a_model_that_is_dropped_is_freed_at_once(tiny: TinyLlama) -> None:
    """By reference counts alone: it is in no cycle that would keep its memory until the next collection."""
    gc.disable()
    try:
        model = lutmac.load(tiny.path, threads=1)
        model.generate(PROMPT, max_tokens=3)
        model.logits([1, 2, 3])
        list(model.conversation().send("Hello", max_tokens=3))
        next(model.stream(PROMPT))
        engine, cache = weakref.ref(model._engine), weakref.ref(model)
        del model
        assert cache() is None
        assert engine() is None
    finally:
        gc.enable()


def test_pages_come_back_when_a_reply_is_done(model: lutmac.Model) -> None:
    model.generate(PROMPT, max_tokens=100)
    model.logits([1] * 100)
    assert model._engine.available_pages() == ALL_PAGES


def test_pages_come_back_when_a_stream_is_closed(model: lutmac.Model) -> None:
    stream = model.stream(PROMPT, max_tokens=100, ignore_eos=True)
    next(stream)
    assert model._engine.available_pages() < ALL_PAGES
    stream.close()  # type: ignore[attr-defined]
    assert model._engine.available_pages() == ALL_PAGES


def test_pages_come_back_when_a_stream_is_dropped(model: lutmac.Model) -> None:
    next(model.stream(PROMPT, max_tokens=100, ignore_eos=True))
    assert model._engine.available_pages() == ALL_PAGES


def test_more_streams_than_the_cache_holds_wait_for_each_other(model: lutmac.Model) -> None:
    streams = [model.stream(PROMPT, max_tokens=None, ignore_eos=True) for _ in range(FULL_SEQUENCES + 3)]
    for stream in streams:
        next(stream)
    assert all(list(stream)[-1].finish_reason == "length" for stream in streams)


def test_a_failing_step_fails_its_callers_and_nobody_after_them(model: lutmac.Model) -> None:
    sequence = model._engine.new_sequence([1, 2, 3], 5)

    def sink(position: int, logits: object) -> None:
        raise RuntimeError("the caller's own mistake")

    sequence.sink = sink
    model._engine.submit(sequence)
    with pytest.raises(RuntimeError, match="own mistake"):
        model._engine.drive(sequence, 5)
    assert model.generate(PROMPT, max_tokens=2, ignore_eos=True).token_ids
    assert model._engine.available_pages() == ALL_PAGES
