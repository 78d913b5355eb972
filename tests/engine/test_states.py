"""States as no family has them yet: every kind with equal bits however it is run, and with NumPy's logits."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_models import CONTEXT, VOCABULARY, Builder, RandomModel, finish, logits, reply, submit

from lutmac.engine.running.scheduler import Slice
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.sampling.sampler import SamplingParams
from lutmac.graph.states import Pages


def latent() -> RandomModel:
    """Latents that serve as keys and values, held once; and one key and value for all heads, as wide as DeepSeek's."""
    b = Builder()
    b.residual(b.latent_attention(b.norm(b.hidden), "layers.0", 10, 64))
    b.residual(b.latent_attention(b.norm(b.hidden), "layers.1", 1, 512))
    b.residual(b.attention(b.norm(b.hidden), 2, Pages("layers.2.latent", 1, 576, 512)))
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


def selective() -> RandomModel:
    """Mamba2's scans with heads narrower and wider than a block, with groups and with limits of the time step."""
    b = Builder()
    for index, (heads, sizes) in enumerate([((6, 2), (16, 24)), ((2, 1), (48, 7)), ((3, 3), (64, 16))]):
        b.residual(b.selective_scan(b.norm(b.hidden), f"layers.{index}.scan", heads, sizes))
    b.residual(b.attention(b.norm(b.hidden), 4, Pages("layers.3.keys_values", 2, 32, 32)))
    return RandomModel(b.graph())


def convolutions() -> RandomModel:
    """Slots and nothing else."""
    b = Builder()
    b.residual(b.convolution(b.norm(b.hidden), "layers.0.conv", 4))
    b.residual(b.convolution(b.norm(b.hidden), "layers.1.conv", 3))
    return RandomModel(b.graph())


MODELS = {
    "latent": latent, "shared": shared, "unequal": unequal, "both": both, "recurrent": recurrent,
    "selective": selective, "convolutions": convolutions,
}  # fmt: skip
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


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, len(TOKENS) - 1), max_size=6))
def test_no_cut_of_a_prompt_changes_a_bit(model: RandomModel, cuts: list[int]) -> None:
    """Each piece begins where the one before has left what it keeps."""
    engine, expected = model.engine(max_tokens=300), reply(model.engine(), TOKENS, 4)
    for length in sorted(set(cuts)):
        prefix = engine.new_sequence(TOKENS[:length], length)
        prefix.sampler = SamplingParams(temperature=0).sampler(VOCABULARY, None, None)
        engine.submit(prefix)
        engine.drive(prefix, length)
    found = submit(engine, TOKENS, 4)
    assert finish(engine, found) == expected
    assert found.reused >= max(cuts, default=0) - (0 if model.has_slots else 3)  # so few are not copied


def test_a_prefix_from_the_cache_changes_no_bit(model: RandomModel) -> None:
    engine = model.engine()
    for length in (250, 128, 200, 64, 285):
        prompt = TOKENS[:length] if length != 200 else [*TOKENS[:150], *TOKENS[:50]]
        assert reply(engine, prompt, 5) == reply(model.engine(), prompt, 5)
    again = submit(engine, TOKENS[:285], 5)
    assert finish(engine, again) == reply(model.engine(), TOKENS[:285], 5)
    assert again.reused == 284
    assert engine.stats().prefix_hit_tokens > 500


def test_the_turns_of_a_chat_compute_what_is_new(model: RandomModel) -> None:
    """A template that keeps the replies, and one that drops what a reply begins with (thoughts)."""
    for dropped in (0, 8):
        engine, shared, prompt = model.engine(), 0, TOKENS[:70]
        for turn in range(4):
            sequence = submit(engine, prompt, 20, shared_prefix=len(prompt) - 3)
            assert sequence.tokens.tolist() == prompt
            drawn = finish(engine, sequence)
            assert drawn == reply(model.engine(), prompt, 20)
            assert sequence.reused >= shared - (model.has_slots and dropped and 3)
            # What a template that drops thoughts shares: all before the reply, with its header.
            shared = len(prompt) if dropped else len(prompt) + 19
            prompt = [*prompt, *drawn[0][dropped:], *TOKENS[100 + 9 * turn : 109 + 9 * turn]]


def test_of_several_replies_to_one_prompt_one_computes_it(model: RandomModel) -> None:
    engine, expected = model.engine(), reply(model.engine(), TOKENS[:200], 8)
    sequences = [submit(engine, TOKENS[:200], 8) for _ in range(4)]
    assert [finish(engine, sequence) for sequence in sequences] == [expected] * 4
    full = 199 if model.has_slots else 192
    assert sorted(sequence.reused for sequence in sequences) == [0, full, full, full]


def test_alone_and_beside_others_the_bits_are_equal(model: RandomModel) -> None:
    """Some share a beginning, some go before the others have ended."""
    prompts = [[*TOKENS[: 40 + 23 * n], *TOKENS[n : n + 20]] for n in range(9)]
    expected = [reply(model.engine(), prompt, 12) for prompt in prompts]
    engine = model.engine(threads=2)
    sequences = [submit(engine, prompt, 12) for prompt in prompts]
    gone = [submit(engine, prompt, 12) for prompt in prompts[::2]]
    engine.step()
    for sequence in gone:
        engine.stop(sequence)
    assert [finish(engine, sequence) for sequence in sequences] == expected
    assert [reply(engine, prompt, 12) for prompt in prompts] == expected


def test_sequences_that_are_sent_away_and_several_at_once_are_those_alone(model: RandomModel) -> None:
    """Six at a time, with memory for little more than one; the first two have the same prompt."""
    prompts = [TOKENS[:40], TOKENS[:40], *([n, *TOKENS[60:110]] for n in range(4))]
    expected = [reply(model.engine(), prompt, 100) for prompt in prompts]
    for budget in (1.2, 1.0):
        engine = model.engine(kv_cache_memory=round(budget * model.engine().sequence_cache_bytes))
        sequences = [submit(engine, prompt, 100) for prompt in prompts]
        assert [finish(engine, sequence) for sequence in sequences] == expected
        assert engine.stats().preemptions > 0 or engine.num_slots == 1  # then they run one by one
        for sequence in sequences:
            engine.stop(sequence)
        engine.available_pages()
        for pool in engine._residency.pages.pools:
            assert pool.available == pool.num_pages
        assert engine._residency.slots is None or engine._residency.slots.available == engine.num_slots


def test_a_step_that_is_cut_short_changes_no_bit(model: RandomModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-C, though it has written into pages and slots."""
    prompts = [TOKENS[:150], TOKENS[20:60]]
    expected = [reply(model.engine(), prompt, 10) for prompt in prompts]
    engine = model.engine()
    run, steps = engine._runner.run, iter(range(1000))

    def interrupted(batch: list[Slice]) -> Any:
        rows = run(batch)
        if next(steps) in (1, 4, 9, 15):
            raise KeyboardInterrupt
        return rows

    monkeypatch.setattr(engine._runner, "run", interrupted)
    sequences = [submit(engine, prompt, 10) for prompt in prompts]
    while not all(sequence.finished for sequence in sequences):
        with suppress(KeyboardInterrupt):
            engine.step()
    assert [finish(engine, sequence) for sequence in sequences] == expected
    assert engine.stats().preemptions > 0


@pytest.mark.parametrize("name", ["both", "recurrent", "selective", "convolutions"])
def test_snapshots_are_kept_within_their_memory(name: str) -> None:
    """With room for one slot, for a few and for many: the same bits, and more is found."""
    model, hits = MODELS[name](), []
    prompts = [[*TOKENS[: 20 * n], n] for n in (3, 9, 4, 9, 5, 8, 3, 4)]
    expected = [reply(model.engine(), prompt, 3) for prompt in prompts]
    one = model.engine().sequence_cache_bytes
    for slots in (1, 4, 40):
        engine = model.engine(kv_cache_memory=one + (slots - 1) * model.engine().slot_bytes)
        assert [reply(engine, prompt, 3) for prompt in prompts] == expected
        stats = engine.stats()
        assert 0 < stats.snapshots <= engine.num_slots <= slots
        assert stats.snapshot_bytes == engine.slot_bytes
        hits.append(stats.prefix_hit_tokens)
    assert sorted(hits) == hits
    assert hits[0] < hits[-1]


class Serving(RuleBasedStateMachine):
    """Requests with common beginnings, cancelled or not, in memory of any size, reply as an empty engine does."""

    models: ClassVar[dict[str, RandomModel]] = {}
    replies: ClassVar[dict[tuple[str, tuple[int, ...]], Any]] = {}

    @initialize(name=st.sampled_from(sorted(MODELS)), budget=st.sampled_from([1.0, 1.1, 1.5, 4.0]))
    def start(self, name: str, budget: float) -> None:
        self.name = name
        if name not in self.models:
            self.models[name] = MODELS[name]()
        self.model = self.models[name]
        self.engine = self.model.engine(kv_cache_memory=round(budget * self.model.engine().sequence_cache_bytes))
        self.sequences: list[Sequence] = []
        self.texts = [TOKENS[:180]]

    @rule(
        text=st.integers(0, 50),
        length=st.integers(1, 180),
        tail=st.integers(0, 3),
        shared=st.none() | st.integers(1, 180),
    )
    def submit(self, text: int, length: int, tail: int, shared: int | None) -> None:
        prompt = [*self.texts[text % len(self.texts)][:length], *[tail] * (2 * tail)]
        self.sequences.append(submit(self.engine, prompt, 6, shared_prefix=shared))

    @rule(steps=st.integers(1, 6))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.engine.step()

    @rule(place=st.integers(0, 50))
    def cancel(self, place: int) -> None:
        if self.sequences:
            self.engine.stop(self.sequences.pop(place % len(self.sequences)))

    @rule(place=st.integers(0, 50))
    def finish(self, place: int) -> None:
        if self.sequences:
            sequence = self.sequences.pop(place % len(self.sequences))
            prompt = tuple(sequence.tokens[: sequence.prompt_length].tolist())
            if (self.name, prompt) not in self.replies:
                self.replies[self.name, prompt] = reply(self.model.engine(), list(prompt), 6)
            assert finish(self.engine, sequence) == self.replies[self.name, prompt]
            self.texts.append(sequence.tokens.tolist())

    def teardown(self) -> None:
        while getattr(self, "sequences", None):
            self.finish(0)


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
