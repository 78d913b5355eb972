"""Log probabilities beside the tokens."""

from __future__ import annotations

import numpy as np
import pytest

import lutmac
from lutmac.errors import InvalidRequestError
from tiny_llama import VOCAB, TinyLlama

PROMPT = [1, 2, 3]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def test_they_are_those_of_the_raw_logits(tiny: TinyLlama) -> None:
    """Whatever bends the choice leaves them alone. Tolerance: float64 sums of 260 terms in another order.

    Uniform: texts that are scored have the arithmetic of replies, on every target.
    """
    model = lutmac.load(tiny.path, threads=1, precision="uniform")
    bent = {"temperature": 2.0, "logit_bias": {65: 5.0}, "repetition_penalty": 1.5, "seed": 1, "ignore_eos": True}
    completion = model.generate(PROMPT, max_tokens=10, logprobs=4, **bent)  # type: ignore[arg-type]
    expected = log_softmax(model.logits([*PROMPT, *completion.token_ids]))[len(PROMPT) - 1 :]
    assert completion.logprobs is not None
    assert [item.token_id for item in completion.logprobs] == list(completion.token_ids)
    for item, row in zip(completion.logprobs, expected, strict=False):
        assert item.logprob == pytest.approx(row[item.token_id], abs=1e-12)
        assert [id for id, _ in item.top] == np.argsort(-row, kind="stable")[:4].tolist()
        assert [logprob for _, logprob in item.top] == pytest.approx([row[id] for id, _ in item.top], abs=1e-12)


def test_each_chunk_has_those_of_its_tokens(tiny_model: lutmac.Model) -> None:
    chunks = list(tiny_model.stream(PROMPT, max_tokens=12, logprobs=0, ignore_eos=True, seed=1))
    completion = chunks[-1].completion
    assert completion is not None
    assert completion.logprobs == tuple(item for chunk in chunks for item in chunk.logprobs or ())
    assert [[item.token_id for item in chunk.logprobs or ()] for chunk in chunks] == [
        list(chunk.token_ids) for chunk in chunks
    ]
    assert all(item.top == () for item in completion.logprobs)


def test_without_being_asked_there_are_none(tiny_model: lutmac.Model) -> None:
    chunks = list(tiny_model.stream(PROMPT, max_tokens=3, ignore_eos=True))
    assert [chunk.logprobs for chunk in chunks] == [None] * len(chunks)
    assert chunks[-1].completion is not None
    assert chunks[-1].completion.logprobs is None


@pytest.mark.parametrize("logprobs", [-1, 21, 1.0, True, "5"])
def test_a_wrong_number_is_an_error(tiny_model: lutmac.Model, logprobs: object) -> None:
    with pytest.raises(InvalidRequestError, match="logprobs"):
        tiny_model.stream(PROMPT, logprobs=logprobs)  # type: ignore[arg-type]


def test_more_than_there_are_is_all(tiny_model: lutmac.Model) -> None:
    completion = tiny_model.generate(PROMPT, max_tokens=1, logprobs=20, ignore_eos=True)
    assert completion.logprobs is not None
    assert len(completion.logprobs[0].top) == min(20, VOCAB)


@pytest.mark.parametrize("max_tokens", [0, 1, 5])
@pytest.mark.parametrize("top", [0, 1, 3])
def test_those_of_a_prompt_are_those_of_its_logits(tiny_model: lutmac.Model, max_tokens: int, top: int) -> None:
    """Tolerance: exponentials of 260 terms in float32."""
    prompt = list(range(40, 140))
    expected = log_softmax(tiny_model.logits(prompt))
    found = tiny_model.generate(prompt, max_tokens=max_tokens, prompt_logprobs=top, ignore_eos=True)
    assert len(found.token_ids) == max_tokens
    assert found.finish_reason == "length"
    assert found.prompt_logprobs is not None
    assert found.prompt_logprobs[0] is None
    assert len(found.prompt_logprobs) == len(prompt)
    for place, item in enumerate(found.prompt_logprobs[1:], 1):
        assert item is not None
        assert item.token_id == prompt[place]
        assert item.logprob == pytest.approx(expected[place - 1][item.token_id], abs=1e-5)
        assert [id for id, _ in item.top] == np.argsort(-expected[place - 1], kind="stable")[:top].tolist()


def test_what_is_scored_draws_the_same_tokens(tiny_model: lutmac.Model) -> None:
    plain = tiny_model.generate(PROMPT, max_tokens=10, seed=3, ignore_eos=True)
    scored = tiny_model.generate(PROMPT, max_tokens=10, seed=3, ignore_eos=True, prompt_logprobs=1, logprobs=1)
    assert scored.token_ids == plain.token_ids
    chunks = list(tiny_model.stream(PROMPT, max_tokens=10, seed=3, ignore_eos=True, prompt_logprobs=1))
    assert chunks[0].prompt_logprobs == scored.prompt_logprobs
    assert all(chunk.prompt_logprobs is None for chunk in chunks[1:])


def test_a_prompt_that_fills_the_context_can_be_scored(tiny_model: lutmac.Model) -> None:
    prompt = [65] * tiny_model.context
    found = tiny_model.generate(prompt, max_tokens=0, prompt_logprobs=0)
    assert found.prompt_logprobs is not None
    assert len(found.prompt_logprobs) == len(prompt)


def test_the_end_token_has_one_too(tiny_model: lutmac.Model) -> None:
    end = next(iter(tiny_model.tokenizer.end_of_generation))
    found = tiny_model.generate(PROMPT, max_tokens=5, logprobs=0, logit_bias={end: 900.0}, temperature=0)
    assert found.token_ids == found.logprobs == ()
    assert found.end_logprob is not None
    expected = log_softmax(tiny_model.logits(PROMPT))[-1][end]
    assert found.end_logprob.logprob == pytest.approx(expected, abs=1e-12)
