"""The default model, end to end."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import lutmac
from lutmac import _native


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> lutmac.Model:
    return lutmac.load(smollm2_path)


def test_it_knows_the_capital_of_france(model: lutmac.Model) -> None:
    assert model.generate("The capital of France is", temperature=0, max_tokens=4).text.startswith(" Paris")


def test_it_answers_in_a_chat_and_stops_by_itself(model: lutmac.Model) -> None:
    reply = model.chat([{"role": "user", "content": "What is 2 + 2? Answer in one word."}], temperature=0)
    assert reply.finish_reason == "stop"
    assert reply.text
    assert "<|im_end|>" not in reply.text


def test_it_is_the_same_bits_in_chunks_and_with_more_threads(model: lutmac.Model, smollm2_path: Path) -> None:
    tokens = model.tokenizer.encode("It is the same in batches of one and of seven, in chunks of one and of 33. " * 2)
    chunked = lutmac.load(smollm2_path, threads=1, max_batch_tokens=33)
    np.testing.assert_array_equal(chunked.logits(tokens), model.logits(tokens))


def test_default_precision_is_near_exact(model: lutmac.Model, smollm2_path: Path) -> None:
    """In Kullback-Leibler divergence, which is what a difference in perplexity comes from.

    Targets differ in the order of their sums, which few tokens do not average out: 1e-3 to 2.6e-3.
    """
    tokens = model.tokenizer.encode("The tower is 324 metres tall, about the same height as an 81-storey building.")
    exact = lutmac.load(smollm2_path, precision="exact").logits(tokens).astype(np.float64)
    found = model.logits(tokens).astype(np.float64)
    log_p, log_q = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (exact, found))
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    assert divergence.mean() < 4e-3


def test_other_python_threads_run_while_it_computes(model: lutmac.Model, isa_target: str) -> None:
    """A step of many tokens holds nobody up for longer than half of it."""
    count = 32 if isa_target == "portable" else 400  # a second or so
    worker = Thread(target=model.logits, args=([1] * count,))
    began = last = time.perf_counter()
    longest = 0.0
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.5 * (last - began)


def test_memory_goes_back_to_the_system_when_the_model_is_dropped(smollm2_path: Path) -> None:
    model = lutmac.load(smollm2_path)
    model.generate("Hello", max_tokens=4)
    weight_bytes = model.info().weight_bytes
    before = _native.resident_bytes()
    del model
    assert before - _native.resident_bytes() > 0.9 * weight_bytes
