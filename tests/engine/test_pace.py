"""Steps stay short where somebody may be waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lutmac.engine.running.pace import SHORT_PROMPT, Pace


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
