"""Log probabilities beside the tokens."""

from __future__ import annotations

import numpy as np
import pytest

import lutmac
from lutmac.errors import InvalidRequestError
from tiny_llama import VOCAB

PROMPT = [1, 2, 3]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def test_they_are_those_of_the_raw_logits(tiny_model: lutmac.Model) -> None:
    """Whatever bends the choice leaves them alone. Tolerance: float64 sums of 260 terms in another order."""
    bent = {"temperature": 2.0, "logit_bias": {65: 5.0}, "repetition_penalty": 1.5, "seed": 1, "ignore_eos": True}
    completion = tiny_model.generate(PROMPT, max_tokens=10, logprobs=4, **bent)  # type: ignore[arg-type]
    expected = log_softmax(tiny_model.logits([*PROMPT, *completion.token_ids]))[len(PROMPT) - 1 :]
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
