"""Embeddings are pooled final hidden states, of length 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac.engine.embedding.embedding import EmbeddingJob, TextBatch
from lutmac.engine.sampling.sampler import SamplingParams
from lutmac.errors import ContextOverflowError, InvalidRequestError
from tiny_llama import CONTEXT, HIDDEN, TinyLlama, exact_logits

TEXTS = [
    [(7 * i + 13 * n) % 256 for i in range(length)] for n, length in enumerate((90, 1, 33, 64, 65, 7, 120, 3, 4, 5))
]


def exact_hidden(tiny: TinyLlama, tokens: list[int]) -> np.ndarray:
    """What the head reads, found by making the head the identity."""
    identity = {**tiny.weights, "output.weight": np.eye(HIDDEN)}
    return exact_logits(identity, tokens)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_they_are_the_pooled_hidden_states(tiny: TinyLlama, pooling: str) -> None:
    """Exact precision: float32 products of 2 layers over an f16 cache, so about 2^-11 of each value."""
    model = lutmac.load(tiny.path, precision="exact", threads=1)
    found = model.embed(TEXTS, pooling=pooling)  # type: ignore[arg-type]
    assert (found.shape, found.dtype) == ((len(TEXTS), HIDDEN), np.float32)
    for row, tokens in zip(found, TEXTS, strict=True):
        hidden = exact_hidden(tiny, tokens)
        pooled = hidden.mean(axis=0) if pooling == "mean" else hidden[-1]
        np.testing.assert_allclose(row, pooled / np.linalg.norm(pooled), atol=2**-11)


def test_company_and_chunks_change_no_bit(tiny: TinyLlama) -> None:
    model = lutmac.load(tiny.path, threads=2)
    alone = np.concatenate([model.embed([tokens]) for tokens in TEXTS])
    np.testing.assert_array_equal(model.embed(TEXTS), alone)
    stream = model.stream("Once upon a time", max_tokens=100, ignore_eos=True, seed=1)
    next(stream)
    np.testing.assert_array_equal(model.embed(TEXTS), alone)
    expected = model.generate("Once upon a time", max_tokens=100, ignore_eos=True, seed=1)
    assert list(stream)[-1].completion.token_ids == expected.token_ids  # type: ignore[union-attr]
    chunked = lutmac.load(tiny.path, threads=1, max_batch_tokens=16)
    np.testing.assert_array_equal(chunked.embed(TEXTS), alone)


def test_alike_texts_are_near(smollm2_path: Path) -> None:
    model = lutmac.load(smollm2_path)
    cat, kitten, tax = model.embed(["The cat sleeps.", "A kitten is asleep.", "Quarterly tax returns are due."])
    assert cat @ kitten > cat @ tax


def test_nothing_gives_nothing(tiny_model: lutmac.Model) -> None:
    assert tiny_model.embed([]).shape == (0, HIDDEN)


def test_mistakes(tiny_model: lutmac.Model) -> None:
    for inputs in ("one text", [""], [[]], [[-1]]):
        with pytest.raises(InvalidRequestError):
            tiny_model.embed(inputs)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="pooling"):
        tiny_model.embed(["a"], pooling="sum")  # type: ignore[arg-type]
    with pytest.raises(ContextOverflowError):
        tiny_model.embed([[65] * (CONTEXT + 1)])


def test_what_was_computed_twice_counts_once(tiny: TinyLlama) -> None:
    """Where pages run out, a sequence gives its own up and is computed again."""
    expected = lutmac.load(tiny.path, threads=1).embed([[kind] * 300 for kind in range(4)], normalize=False)
    page_bytes = lutmac.load(tiny.path, threads=1).info().cache_bytes_per_position * 64
    engine = lutmac.load(tiny.path, threads=1, max_batch_tokens=64, kv_cache_memory=8 * page_bytes).engine
    jobs = [EmbeddingJob(engine, TextBatch([[kind] * 300])) for kind in range(4)]
    replies = [engine.new_sequence([9] * 40, 60) for _ in range(3)]
    for sequence in replies:
        sequence.sampler = SamplingParams(seed=1).sampler(engine.vocab_size)
    for sequence in [*replies, *(next(job.due()) for job in jobs)]:
        engine.submit(sequence)
    for job in jobs:
        engine.drive(job.oldest, job.oldest.length)
        job.take()
    assert engine.stats().preemptions > 0
    np.testing.assert_array_equal(np.concatenate([job.vectors for job in jobs]).astype(np.float32), expected)
