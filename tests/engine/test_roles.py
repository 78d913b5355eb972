"""Roles: a request has the same bits whatever the cache holds and whoever else is served.

Prompts and replies have two arithmetics here, see `two_arithmetics`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_models import CONTEXT, RandomModel, Spans, finish, logits, reply, submit
from test_states import MODELS, TOKENS
from two_arithmetics import TARGET, engine_by_role

from lutmac.engine.running.sequence import Sequence

AnyModel = RandomModel | Path
CONVERTED = Path(__file__).parents[1] / "models" / "converted"  # llama.cpp's converter made these files
DRAWN = 6


FAMILIES = ("falcon_h1", "gemma4", "lfm2", "qwen3_5_moe")  # slots, windows, experts


def model_of(name: str) -> AnyModel:
    return MODELS[name]() if name in MODELS else CONVERTED / f"{name}.gguf"


def has_one_arithmetic(model: AnyModel) -> bool:
    """The files hold floats, of which a target's prompts have no other products than its replies."""
    return isinstance(model, Path) and TARGET is not None


@pytest.fixture(scope="module", params=[*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)])
def model(request: pytest.FixtureRequest) -> AnyModel:
    return model_of(request.param)


def test_a_next_turn_begins_behind_its_reply(model: AnyModel) -> None:
    """As a reply it is found, as a prompt it is not, and each is found by its own kind: bits are an empty cache's."""
    engine = engine_by_role(model)
    prompt = TOKENS[:70]
    drawn = reply(engine, prompt, 80)[0]
    turn = [*prompt, *drawn, *TOKENS[200:210]]
    as_reply: Spans = ((70, 150),)
    for spans, reused in ((as_reply, 149), ((), 70), (as_reply, 159), ((), 159), (((70, 110),), 110)):
        sequence = submit(engine, turn, DRAWN, reply_spans=spans)
        assert finish(engine, sequence) == reply(engine_by_role(model), turn, DRAWN, spans)
        # Snapshots are where a turn ended or parted from another; a page's beginning is copied for four tokens or more.
        assert reused - 4 < sequence.reused <= reused or (engine.num_slots and sequence.reused <= reused)
    assert reply(engine, turn, DRAWN, ((70, 160),)) != reply(engine, turn, DRAWN, ()) or has_one_arithmetic(model)


def test_scores_of_a_prompt_are_a_prompts(model: AnyModel) -> None:
    """However it is cut, and whatever the cache has of it as a reply."""
    engine = engine_by_role(model, max_tokens=300)
    drawn = reply(engine, TOKENS[:70], 80)[0]
    text = [*TOKENS[:70], *drawn]
    expected = logits(engine, text)
    np.testing.assert_array_equal(logits(engine_by_role(model, max_tokens=17, threads=2), text), expected)
    assert (expected[70:] != _scores(engine, text, ((70, 150),))[70:]).any() or has_one_arithmetic(model)


def _scores(engine: Any, tokens: list[int], spans: Spans) -> Any:
    found = np.empty((len(tokens), engine.vocab_size), np.float32)
    sequence = engine.new_sequence(tokens, len(tokens), private=True, reply_spans=spans)
    sequence.sink = lambda position, rows: found.__setitem__(slice(position, position + len(rows)), rows)
    engine.submit(sequence)
    engine.drive(sequence, len(tokens))
    return found


spans_of_prompts = st.lists(st.integers(0, 200), max_size=6, unique=True).map(
    lambda ends: tuple(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)


@settings(max_examples=6, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 199), max_size=5), spans=spans_of_prompts, together=st.sampled_from([16, 17, 64, 300])
)
def test_no_cut_of_a_prompt_changes_a_bit(model: AnyModel, cuts: list[int], spans: Spans, together: int) -> None:
    """Each piece begins where the one before has left what it keeps."""
    prompt, engine = TOKENS[:200], engine_by_role(model, max_tokens=together)
    expected = reply(engine_by_role(model), prompt, DRAWN, spans)
    for length in sorted(cuts):
        reply(engine, prompt[:length], 1, spans)
    assert reply(engine, prompt, DRAWN, spans) == expected


def test_beside_fifteen_others_the_bits_are_equal(model: AnyModel) -> None:
    """They share beginnings in the same roles and in others; steps hold rows of both."""
    requests: list[tuple[list[int], Spans]] = [
        ([*TOKENS[: 30 + 9 * n], n], (((0, 20 + n),), (), ((11, 40),))[n % 3]) for n in range(16)
    ]
    expected = [reply(engine_by_role(model), prompt, DRAWN, spans) for prompt, spans in requests]
    engine = engine_by_role(model, threads=2)
    sequences = [submit(engine, prompt, DRAWN, reply_spans=spans) for prompt, spans in requests]
    assert [finish(engine, sequence) for sequence in sequences] == expected


def test_after_preemption_the_bits_are_equal(model: AnyModel) -> None:
    """What was drawn stays generated when it is computed again."""
    requests: list[tuple[list[int], Spans]] = [
        ([n % 2, *TOKENS[40:90]], (((10, 30),), ())[n // 2 % 2]) for n in range(6)
    ]
    expected = [reply(engine_by_role(model), prompt, 90, spans) for prompt, spans in requests]
    memory = engine_by_role(model).sequence_cache_bytes
    engine = engine_by_role(model, memory=round(1.2 * memory))
    sequences = [submit(engine, prompt, 90, reply_spans=spans) for prompt, spans in requests]
    assert [finish(engine, sequence) for sequence in sequences] == expected
    assert engine.stats().preemptions > 0 or engine.num_slots == 1


def test_roles_alone_change_no_bit(model: AnyModel) -> None:
    """Where both have one arithmetic: steps have many slices of a prompt, generated ones first."""
    if isinstance(model, Path):
        pytest.skip("by models of all states")
    prompt = TOKENS[:230]
    for spans in (((0, 30), (35, 36), (64, 128), (140, 230)), ((10, 20), (30, 100), (101, 200))):
        engine = model.engine(threads=2)
        engine.by_role = True
        assert reply(engine, prompt, DRAWN, spans) == reply(model.engine(), prompt, DRAWN)


class Serving(RuleBasedStateMachine):
    """Requests with common beginnings in any roles, cancelled or not, in memory of any size."""

    models: ClassVar[dict[str, AnyModel]] = {}
    replies: ClassVar[dict[Any, Any]] = {}

    @initialize(
        name=st.sampled_from([*MODELS, *FAMILIES]),
        budget=st.sampled_from([1.0, 1.5, 4.0]),
        together=st.sampled_from([16, 17, 64, 300]),
    )
    def start(self, name: str, budget: float, together: int) -> None:
        self.name = name
        self.model = self.models.setdefault(name, model_of(name))
        memory = engine_by_role(self.model, max_tokens=together).sequence_cache_bytes
        self.engine = engine_by_role(self.model, max_tokens=together, memory=round(budget * memory))
        self.sequences: list[tuple[Sequence, Spans]] = []
        self.texts: list[tuple[list[int], Spans]] = [(TOKENS[:180], ((30, 120),))]

    @rule(
        text=st.integers(0, 50),
        length=st.integers(1, 180),
        tail=st.integers(0, 3),
        kind=st.sampled_from(["reply", "reply", "prompt", "any"]),
        spans=spans_of_prompts,
        shared=st.none() | st.integers(1, 180),
    )
    def submit(self, text: int, length: int, tail: int, kind: str, spans: Spans, shared: int | None) -> None:
        tokens, own = self.texts[text % len(self.texts)]
        prompt = [*tokens[: length if kind == "any" else CONTEXT // 2 + length // 8], *[tail] * (2 * tail)]
        chosen = {"reply": own, "prompt": (), "any": spans}[kind]
        sequence = submit(self.engine, prompt, DRAWN, shared_prefix=shared, reply_spans=chosen)
        self.sequences.append((sequence, chosen))

    @rule(steps=st.integers(1, 6))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.engine.step()

    @rule(place=st.integers(0, 50))
    def cancel(self, place: int) -> None:
        if self.sequences:
            self.engine.stop(self.sequences.pop(place % len(self.sequences))[0])

    @rule(place=st.integers(0, 50))
    def finish(self, place: int) -> None:
        if self.sequences:
            sequence, spans = self.sequences.pop(place % len(self.sequences))
            prompt = tuple(sequence.tokens[: sequence.prompt_length].tolist())
            key = self.name, prompt, spans
            if key not in self.replies:
                self.replies[key] = reply(engine_by_role(self.model), list(prompt), DRAWN, spans)
            assert finish(self.engine, sequence) == self.replies[key]
            self.texts.append((sequence.tokens.tolist(), (*spans, (len(prompt), sequence.length))))

    def teardown(self) -> None:
        while getattr(self, "sequences", None):
            self.finish(0)


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
