"""A token's logits are the same bits in any batch, in chunks of any size, with any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lutmac
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from tiny_llama import TinyLlama

SETTINGS = [
    {"precision": "default"},
    {"precision": "exact"},
    {"precision": "default", "kv_cache": "int8"},
    {"precision": "exact", "kv_cache": "f32"},
]
TEXTS = [[(7 * i + 13 * n) % 256 for i in range(length)] for n, length in enumerate((90, 1, 33, 64, 65, 7, 120))]


def scored(engine: Engine, tokens: list[int]) -> tuple[Sequence, np.ndarray]:
    """A submitted sequence and the array that its logits go to."""
    found = np.empty((len(tokens), engine.vocab_size), dtype=np.float32)
    sequence = engine.new_sequence(tokens, len(tokens))

    def sink(position: int, logits: np.ndarray) -> None:
        found[position : position + len(logits)] = logits

    sequence.sink = sink
    engine.submit(sequence)
    return sequence, found


@pytest.fixture(params=SETTINGS, ids=lambda settings: "-".join(settings.values()))
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    found: dict[str, str] = request.param
    return found


def load(tiny: TinyLlama, settings: dict[str, str], **options: int) -> lutmac.Model:
    return lutmac.load(tiny.path, **settings, **options)  # type: ignore[arg-type]


def test_threads_and_chunks_do_not_change_a_bit(tiny: TinyLlama, settings: dict[str, str]) -> None:
    expected = load(tiny, settings, threads=1).logits(TEXTS[0])
    for threads, chunk in ((2, 512), (1, 33), (2, 33), (2, 16)):
        model = load(tiny, settings, threads=threads, max_batch_tokens=chunk)
        np.testing.assert_array_equal(model.logits(TEXTS[0]), expected)


def test_one_token_at_a_time_is_the_same_as_all_at_once(tiny: TinyLlama, settings: dict[str, str]) -> None:
    model = load(tiny, settings, threads=2)
    engine = model._engine
    expected = model.logits(TEXTS[0])
    sequence, found = scored(engine, TEXTS[0])
    engine._scheduler.max_batch_tokens = 1
    engine.drive(sequence, len(TEXTS[0]))
    np.testing.assert_array_equal(found, expected)


def test_neighbours_in_the_batch_do_not_change_a_bit(tiny: TinyLlama, settings: dict[str, str]) -> None:
    model = load(tiny, settings, threads=2)
    alone = [model.logits(tokens) for tokens in TEXTS]
    together = [scored(model._engine, tokens) for tokens in TEXTS]
    for (sequence, found), expected in zip(together, alone, strict=True):
        model._engine.drive(sequence, sequence.length)
        np.testing.assert_array_equal(found, expected)


def test_threads_that_generate_at_once_get_what_each_gets_alone(tiny: TinyLlama) -> None:
    model = load(tiny, {}, threads=2)

    def generate(seed: int) -> tuple[int, ...]:
        prompt = TEXTS[seed % len(TEXTS)]
        return model.generate(prompt, max_tokens=30, temperature=1.0, seed=seed, ignore_eos=True).token_ids

    alone = [generate(seed) for seed in range(20)]
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(generate, range(20))) == alone
