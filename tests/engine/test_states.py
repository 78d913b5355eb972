"""States as no family has them yet: every kind with equal bits however it is run, and with NumPy's logits."""

from __future__ import annotations

import numpy as np
import pytest
from random_models import CONTEXT, VOCABULARY, Builder, RandomModel, finish, logits, reply, submit

from lutmac.graph.states import Pages


def latent() -> RandomModel:
    """One key and value for all heads, as wide as DeepSeek's latents."""
    b = Builder()
    b.residual(b.attention(b.norm(b.hidden), 4, Pages("layers.0.latent", 1, 576, 512)))
    b.residual(b.attention(b.norm(b.hidden), 2, Pages("layers.1.latent", 1, 576, 512)))
    return RandomModel(b.graph())


def shared() -> RandomModel:
    """A layer that reads an earlier one's keys and values, and stores none."""
    b, cache = Builder(), Pages("layers.0.keys_values", 2, 32, 32, window=70)
    b.residual(b.attention(b.norm(b.hidden), 4, Pages("layers.1.keys_values", 2, 32, 32)))
    b.residual(b.attention(b.norm(b.hidden), 4, cache))
    b.residual(b.attention(b.norm(b.hidden), 2, cache, store=False))
    return RandomModel(b.graph())


def unequal() -> RandomModel:
    """Layers that differ in key heads, size of a head, size of values and window."""
    b = Builder()
    for index, (heads, kv_heads, head_dim, value_dim, window) in enumerate(
        [(4, 2, 32, 32, 0), (2, 1, 512, 512, 0), (4, 4, 16, 48, 65), (8, 2, 80, 16, 1), (4, 1, 64, 32, 130)]
    ):
        cache = Pages(f"layers.{index}.keys_values", kv_heads, head_dim, value_dim, window)
        b.residual(b.attention(b.norm(b.hidden), heads, cache))
    return RandomModel(b.graph())


def both() -> RandomModel:
    """Attention and a convolution side by side in one layer, and a layer of a convolution alone."""
    b = Builder()
    b.residual(b.convolution(b.norm(b.hidden), "layers.0.conv", 3))
    x = b.norm(b.hidden)
    attended = b.attention(x, 4, Pages("layers.1.keys_values", 2, 32, 32, window=70))
    b.residual(attended)
    b.residual(b.convolution(x, "layers.1.conv", 5))
    return RandomModel(b.graph())


def recurrent() -> RandomModel:
    """Delta rules with a decay for each head and for each channel, with values narrower and wider than a block."""
    b = Builder()
    shapes = [((2, 6), (12, 16)), ((2, 4), (16, 40)), ((4, 4), (10, 72))]
    for index, (heads, sizes) in enumerate(shapes):
        for by_channel in (False, True):
            x, name = b.norm(b.hidden), f"layers.{2 * index + by_channel}.delta"
            b.residual(b.delta_rule(x, name, heads, sizes, by_channel=by_channel, tiled=index == 1))
    b.residual(b.attention(b.norm(b.hidden), 4, Pages("layers.6.keys_values", 2, 32, 32)))
    return RandomModel(b.graph())


MODELS = {"latent": latent, "shared": shared, "unequal": unequal, "both": both, "recurrent": recurrent}
TOKENS = np.random.default_rng(1).integers(0, VOCABULARY, CONTEXT - 30).tolist()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> RandomModel:
    made: RandomModel = MODELS[request.param]()
    return made


def test_logits_are_those_of_numpy(model: RandomModel) -> None:
    """Keys and values are in float32; sums in another order are all that is left."""
    found, expected = logits(model.engine(), TOKENS), model.reference(TOKENS)
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


def test_steps_and_threads_do_not_change_a_bit(model: RandomModel) -> None:
    expected = logits(model.engine(max_tokens=300), TOKENS)
    np.testing.assert_array_equal(logits(model.engine(max_tokens=17, threads=2), TOKENS), expected)


def test_a_prefix_from_the_cache_changes_no_bit(model: RandomModel) -> None:
    engine = model.engine()
    for length in (250, 128, 200, 64, 285):
        prompt = TOKENS[:length] if length != 200 else [*TOKENS[:150], *TOKENS[:50]]
        assert reply(engine, prompt, 5) == reply(model.engine(), prompt, 5)
    assert reply(engine, TOKENS[:285], 5) == reply(model.engine(), TOKENS[:285], 5)
    hits = engine.stats().prefix_hit_tokens
    assert hits == 0 if model.has_slots else hits > 500  # what a slot holds is not found again


def test_sequences_that_are_sent_away_and_several_at_once_are_those_alone(model: RandomModel) -> None:
    """Six at a time, with memory for little more than one; the first two have the same prompt."""
    prompts = [TOKENS[:40], TOKENS[:40], *([n, *TOKENS[60:110]] for n in range(4))]
    expected = [reply(model.engine(), prompt, 100) for prompt in prompts]
    engine = model.engine(kv_cache_memory=round(1.2 * model.engine().sequence_cache_bytes))
    sequences = [submit(engine, prompt, 100) for prompt in prompts]
    assert [finish(engine, sequence) for sequence in sequences] == expected
    assert engine.stats().preemptions > 0
    for sequence in sequences:
        engine.stop(sequence)
    engine.available_pages()
    for pool in engine._residency.pages.pools:
        assert pool.available == pool.num_pages
