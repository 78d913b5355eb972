"""What the cache has is not computed again, and nobody can tell from the result."""

from __future__ import annotations

import numpy as np
import pytest

import lutmac
from lutmac.engine.running.kv_cache import PAGE_TOKENS
from tiny_llama import CONTEXT, TinyLlama

SYSTEM = [(7 * i + i // 13) % 256 for i in range(200)]
OPTIONS = {"max_tokens": 30, "temperature": 1.0, "seed": 3, "ignore_eos": True, "logprobs": 5}


def budget(tiny: TinyLlama, tokens: int) -> int:
    """Bytes for so many positions."""
    return tokens * lutmac.load(tiny.path, threads=1).info().cache_bytes_per_position


@pytest.fixture(params=["f16", "f32", "int8"])
def model(tiny: TinyLlama, request: pytest.FixtureRequest) -> lutmac.Model:
    return lutmac.load(tiny.path, threads=1, kv_cache=request.param)


def test_a_shared_beginning_is_computed_once_and_changes_no_bit(model: lutmac.Model, tiny: TinyLlama) -> None:
    """Full pages are shared; of the page after them, what is common is copied."""
    for tail in ([1, 2, 3], [4], [1, 2, 9, 9], [5] * 100):
        prompt = SYSTEM + tail
        fresh = lutmac.load(tiny.path, threads=1, kv_cache=model.info().kv_cache)
        expected, found = fresh.generate(prompt, **OPTIONS), model.generate(prompt, **OPTIONS)
        assert found.token_ids == expected.token_ids
        assert found.logprobs == expected.logprobs
        assert expected.cached_tokens == 0
        assert found.cached_tokens >= (len(SYSTEM) if tail != [1, 2, 3] else 0)


def test_what_was_generated_is_found_too(model: lutmac.Model) -> None:
    first = model.generate(SYSTEM, **OPTIONS)
    spans = [(len(SYSTEM), len(SYSTEM) + len(first.token_ids))]  # where prompts have an arithmetic of their own
    second = model.generate([*SYSTEM, *first.token_ids, 7], reply_spans=spans, **OPTIONS)
    assert second.cached_tokens == len(SYSTEM) + len(first.token_ids) - 1  # the last token never ran


def test_the_same_prompt_again_runs_one_token(model: lutmac.Model) -> None:
    model.generate(SYSTEM, **OPTIONS)
    assert model.generate(SYSTEM, **OPTIONS).cached_tokens == len(SYSTEM) - 1


def test_replies_that_start_together_compute_their_prompt_once(model: lutmac.Model) -> None:
    streams = [model.stream(SYSTEM, **{**OPTIONS, "seed": seed}) for seed in range(4)]
    for stream in streams:
        next(stream)
    completions = [list(stream)[-1].completion for stream in streams]
    full = len(SYSTEM) // PAGE_TOKENS * PAGE_TOKENS
    assert sorted(c.cached_tokens for c in completions if c is not None) == [0, full, full, full]
    assert len({c.token_ids for c in completions if c is not None}) == 4


def test_scores_are_never_taken_from_the_cache(model: lutmac.Model) -> None:
    expected = model.logits(SYSTEM)
    model.generate(SYSTEM, **OPTIONS)
    np.testing.assert_array_equal(model.logits(SYSTEM), expected)


@pytest.fixture
def scarce(tiny: TinyLlama) -> lutmac.Model:
    """Memory for one sequence of full length and a bit."""
    return lutmac.load(tiny.path, threads=1, kv_cache_memory=budget(tiny, CONTEXT + PAGE_TOKENS))


def test_preempted_replies_are_those_that_had_room(scarce: lutmac.Model, tiny: TinyLlama) -> None:
    roomy = lutmac.load(tiny.path, threads=1)
    options = {**OPTIONS, "max_tokens": 200}
    prompts = [[n] * 20 for n in range(6)]
    expected = [roomy.generate(prompt, **options) for prompt in prompts]
    streams = [scarce.stream(prompt, **options) for prompt in prompts]
    for stream in streams:
        next(stream)
    completions = [list(stream)[-1].completion for stream in streams]
    assert scarce.engine.stats().preemptions > 0
    for found, right in zip(completions, expected, strict=True):
        assert found is not None
        assert (found.token_ids, found.logprobs, found.text) == (right.token_ids, right.logprobs, right.text)
    assert scarce.engine.available_pages() == CONTEXT // PAGE_TOKENS + 1


def test_memory_that_is_used_up_by_what_nobody_needs_is_used_again(scarce: lutmac.Model, tiny: TinyLlama) -> None:
    for n in range(12):
        completion = scarce.generate([n] * 150, **OPTIONS)
        assert completion.cached_tokens == 0
    assert scarce.generate([11] * 150, **OPTIONS).cached_tokens == 149
    assert scarce.generate([0] * 150, **OPTIONS).cached_tokens == 0
