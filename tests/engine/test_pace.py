"""Steps stay short where somebody may be waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lutmac.engine.running.pace import SHORT_PROMPT, Pace
from lutmac.engine.running.sequence import GENERATED, PROMPT, Sequence
from lutmac.engine.running.step_planner import Room, StepPlanner


def seconds(begin: float, slope: float, tokens: int) -> float:
    return begin + slope * tokens


def test_before_anything_is_known_a_step_takes_a_short_prompt() -> None:
    assert Pace().room().prompts == SHORT_PROMPT


@given(st.floats(0, 0.5), st.floats(1e-5, 0.1))
def test_a_newcomer_waits_less_than_three_times_its_idle_time(begin: float, slope: float) -> None:
    """It comes just after a step has begun, and shares the next one with the oldest prompt's quarter."""
    pace = Pace()
    for _ in range(50):
        pace.record(1, seconds(begin, slope, 1), 300)
        tokens = pace.room().prompts
        pace.record(tokens, seconds(begin, slope, tokens), 100)
    tokens = pace.room().prompts
    own = SHORT_PROMPT + tokens // 4
    idle = seconds(begin, slope, SHORT_PROMPT)
    assert seconds(begin, slope, tokens) + seconds(begin, slope, own) <= 3 * idle * 1.01


def test_where_weights_are_read_anyway_a_step_takes_more() -> None:
    pace = Pace()
    for _ in range(50):
        pace.record(1, 0.060, 10)
        pace.record(32, 0.060 + 32 * 0.001, 40)
    assert pace.room().prompts > 1.5 * SHORT_PROMPT


def test_deep_prompts_get_fewer_tokens() -> None:
    """Attention over a long context makes a token slower; the newcomer's idle time knows nothing of it."""
    pace = Pace()
    for _ in range(50):
        pace.record(32, 0.032, 32)
    shallow = pace.room().prompts
    for _ in range(50):
        pace.record(20, 0.040, 4000)
    assert 0 < pace.room().prompts < shallow


def test_each_role_has_its_own_pace() -> None:
    """A matrix unit takes prompts in a tenth of a generated token's time; steps with both tell nothing wrong."""
    pace, plain = Pace(by_role=True), Pace()
    for step in range(60):
        for measured in (pace, plain):
            measured.record(1, 0.010 + 0.001, 300, generated=1)
            measured.record(16, 0.010 + 16 * 0.001, 300, generated=16)
            prompts, beside = (64, 0) if step % 2 else (96, 8)
            seconds = 0.010 + prompts * 0.0001 + beside * 0.001
            measured.record(prompts + beside, seconds, 100, generated=beside)
    room = pace.room()
    assert 8 <= room.price <= 12
    own = 0.010 + SHORT_PROMPT * 0.0001
    assert 0.010 + room.prompts * 0.0001 <= 1.3 * own
    assert room.prompts > 1.5 * SHORT_PROMPT
    assert 0.010 + room.little * 0.001 <= 1.3 * 0.011 + 0.004  # the least that a step takes
    assert plain.room().price == 1.0


def test_earlier_replies_that_are_computed_again_get_fewer_tokens_of_a_step() -> None:
    prompt = Sequence(range(200), 201, roles=bytes([PROMPT]) * 200)
    replayed = Sequence(range(200), 201, roles=bytes([GENERATED]) * 200)
    for sequence, counts in ((prompt, [64, 64]), (replayed, [64, 16])):
        planner = StepPlanner(512, 512, 16)
        batches = [planner.next([sequence], Room(64, 8, price)) for price in (1.0, 4.0)]
        assert [slice.count for batch in batches for slice in batch] == counts
