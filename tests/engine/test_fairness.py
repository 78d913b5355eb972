"""Nobody waits for the end of somebody else's long prompt, and nobody starves."""

from __future__ import annotations

import pytest

import lutmac
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.share import Share
from lutmac.engine.sampling.sampler import SamplingParams
from tiny_llama import TinyLlama


@pytest.fixture
def engine(tiny: TinyLlama) -> Engine:
    engine = lutmac.load(tiny.path, threads=1).engine
    engine.expects_company = True
    return engine


def submit(engine: Engine, kind: int, length: int, replies: int = 3) -> Sequence:
    sequence = engine.new_sequence([kind] * length, length + replies)
    sequence.sampler = SamplingParams(seed=0).sampler(engine.vocab_size)
    engine.submit(sequence)
    return sequence


def test_a_short_prompt_has_its_token_before_a_long_one_is_read(engine: Engine) -> None:
    long = submit(engine, 1, 480)
    engine.step()
    short = submit(engine, 2, 16)
    engine.step()
    engine.step()
    assert short.length > 16
    assert 0 < long.computed < 480


def test_a_long_prompt_ends_however_many_short_ones_come(engine: Engine) -> None:
    long = submit(engine, 1, 300)
    steps = 0
    while long.length == 300:
        submit(engine, 2 + steps % 200, 40, replies=1)
        engine.step()
        steps += 1
        assert steps < 300
    assert steps > 3


def test_those_who_are_writing_get_a_token_in_every_step(engine: Engine) -> None:
    writing = submit(engine, 1, 1, replies=60)
    engine.step()
    submit(engine, 2, 400)
    for _ in range(10):
        length = writing.length
        engine.step()
        assert writing.length == length + 1


def test_whoever_goes_away_is_out_before_the_next_step(engine: Engine) -> None:
    gone, stays = submit(engine, 1, 400), submit(engine, 2, 20)
    engine.step()
    engine.stop(gone)
    computed = gone.computed
    assert computed
    engine.step()
    assert engine.stats().running == 1
    assert len(gone.page_table.pages()) == 0
    assert stays.computed > 0


def test_alone_and_without_company_a_prompt_is_read_at_once(tiny: TinyLlama) -> None:
    engine = lutmac.load(tiny.path, threads=1).engine
    alone = submit(engine, 1, 400)
    engine.step()
    assert alone.length == 401


def embed(engine: Engine, request: Share, length: int) -> Sequence:
    text = engine.new_sequence([7] * length, length, private=True)
    text.sink, text.wants_hidden, text.share = lambda position, hidden: None, True, request
    engine.submit(text)
    return text


@pytest.mark.parametrize("length", [1, 200])
def test_a_cached_prompt_runs_beside_nobodys_texts(engine: Engine, length: int) -> None:
    """Whoever asks again waits for a step of 8 tokens at most, and then for its own."""
    requests = [Share("hog") for _ in range(4)]
    for _ in range(3):
        asked = submit(engine, 2, 100)
        asked.share = Share("other")
        while asked.length == 100:
            engine.step()
        engine.stop(asked)
        for place in range(40):
            embed(engine, requests[place % 4], length)
        engine.step()
        done = sum(request.served for request in requests)
        engine.step()
        assert sum(request.served for request in requests) - done <= 8  # the step that it comes upon
        done = sum(request.served for request in requests)
        again = submit(engine, 2, 100)
        again.share = Share("other")
        engine.step()
        assert again.length == 101
        assert sum(request.served for request in requests) == done
        engine.stop(again)
        engine.step()
        assert sum(request.served for request in requests) > done
