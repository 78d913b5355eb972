from dataclasses import dataclass, field

import pytest

from lutmac.cli.measure import Plan, measure, runs_of
from lutmac.cli.stopwatch import Span

PLAN = Plan(prompt_tokens=100, decode_tokens=10, depth=0, repeat=3)


@dataclass
class Engine:
    """Takes a fixed time for each token; `log` is shared to see who ran when."""

    name: str
    seconds: dict[str, float]
    log: list[str] = field(default_factory=list)

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(self.seconds)

    def prefill(self, variant: str, threads: int, tokens: int) -> Span:
        self.log.append(self.name + variant)
        return self._span(self.seconds[variant] * tokens)

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> Span:
        self.log.append(self.name + variant)
        return self._span(10 * self.seconds[variant] * tokens)

    @staticmethod
    def _span(seconds: float) -> Span:
        return Span(seconds, 2 * seconds)


def test_rates_are_tokens_per_second_of_the_better_variant():
    rates = measure([Engine("a", {"": 0.5}), Engine("b", {"slow": 1.0, "fast": 0.25})], PLAN, threads=2)
    found = [(r.engine, r.variant, r.phase, r.threads, r.tokens) for r in rates]
    assert found == [
        ("a", "", "prefill", 2, 100),
        ("b", "fast", "prefill", 2, 100),
        ("a", "", "decode", 2, 10),
        ("b", "fast", "decode", 2, 10),
    ]
    assert [r.median for r in rates] == pytest.approx([2.0, 4.0, 0.2, 0.4])
    assert [r.core_seconds_per_token for r in rates] == pytest.approx([1.0, 0.5, 10.0, 5.0])
    assert all(len(r.samples) == PLAN.repeat for r in rates)


def test_engines_take_turns_and_each_warms_up_once():
    log: list[str] = []
    engines = [Engine("a", {"": 1.0}, log), Engine("b", {"x": 1.0, "y": 1.0}, log)]
    steps = []
    measure(engines, PLAN, threads=1, on_run=lambda: steps.append(1))
    assert log == ["a", "bx", "by"] * 2 * (PLAN.repeat + 1)
    assert len(steps) == runs_of(engines, PLAN)


def test_the_longest_sequence_holds_prompt_and_context():
    assert Plan(128, 64, 0, 1).longest_sequence >= 128
    assert Plan(128, 64, 4096, 1).longest_sequence >= 4096 + 64
