"""Prefill and decode rates of several engines, measured in turns so that a noisy machine treats all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lutmac.cli.energy import LEAST_SECONDS
from lutmac.cli.stopwatch import Span
from lutmac.graph.compile import CacheType

Phase = Literal["prefill", "decode"]


class Contestant(Protocol):
    """An engine that has one model open."""

    name: str
    variants: tuple[str, ...]  # settings of which the best counts

    def prefill(self, variant: str, threads: int, tokens: int) -> Span:
        """Time for a prompt of that many tokens with an empty KV cache."""

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> Span:
        """Time for that many tokens, one at a time, behind max(1, depth) tokens of context."""


@dataclass(frozen=True)
class Plan:
    """What is measured. depth: tokens in the KV cache before decoding begins. kv_cache: what lutmac keeps them as.

    traced: whether each phase runs once more behind the measured ones, and what its threads do is written down.
    """

    prompt_tokens: int
    decode_tokens: int
    depth: int
    repeat: int
    kv_cache: CacheType = "f16"
    traced: bool = False

    @property
    def longest_sequence(self) -> int:
        """Tokens that the KV cache has to hold."""
        return max(self.prompt_tokens, max(1, self.depth) + self.decode_tokens) + 1


@dataclass(frozen=True)
class Rates:
    """Tokens per second of one engine in one phase, a figure per repeat.

    core_seconds, joules: of a token, likewise; joules, beyond the idle machine's, are missing where nothing counts.
    """

    engine: str
    variant: str
    phase: Phase
    threads: int
    tokens: int
    depth: int
    samples: tuple[float, ...]
    core_seconds: tuple[float, ...]
    joules: tuple[float, ...] = ()

    @property
    def core_seconds_per_token(self) -> float:
        """The middle figure: processor time that a token takes on all threads together."""
        return statistics.median(self.core_seconds)

    @property
    def joules_per_token(self) -> float | None:
        """The middle figure: energy that the work took beyond the idle machine's; None where nothing counts it."""
        return statistics.median(self.joules) if self.joules else None

    @property
    def median(self) -> float:
        """The middle figure, in tokens per second."""
        return statistics.median(self.samples)


def measure(
    contestants: Sequence[Contestant], plan: Plan, threads: int, on_run: Callable[[], None] = lambda: None
) -> list[Rates]:
    """Prefill and decode rates, the best variant of each contestant; one unmeasured run of each goes first."""
    results = []
    phases: tuple[Phase, ...] = ("prefill", "decode")
    for phase in phases:
        runs = [(contestant, variant) for contestant in contestants for variant in contestant.variants]
        samples = {(contestant.name, variant): _Samples() for contestant, variant in runs}
        for turn in range(plan.repeat + 1):
            for contestant, variant in runs:
                tokens, span = _run(contestant, variant, phase, plan, threads)
                if turn > 0:
                    samples[contestant.name, variant].add(tokens, span)
                on_run()
        for contestant in contestants:
            best = max(contestant.variants, key=lambda v, c=contestant: statistics.median(samples[c.name, v].rates))  # type: ignore[misc]
            tokens, depth = (plan.prompt_tokens, 0) if phase == "prefill" else (plan.decode_tokens, max(1, plan.depth))
            found = samples[contestant.name, best]
            results.append(found.rates_of(contestant.name, best, phase, threads, tokens, depth))
    return results


@dataclass
class _Samples:
    rates: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)

    def add(self, tokens: int, span: Span) -> None:
        self.rates.append(tokens / span.seconds)
        self.core_seconds.append(span.core_seconds / tokens)
        if span.joules is not None:
            self.joules.append(span.joules / tokens)

    def rates_of(self, engine: str, variant: str, phase: Phase, threads: int, tokens: int, depth: int) -> Rates:
        samples = tuple(self.rates), tuple(self.core_seconds), tuple(self.joules)
        return Rates(engine, variant, phase, threads, tokens, depth, *samples)


def runs_of(contestants: Sequence[Contestant], plan: Plan) -> int:
    """How many times `measure` calls on_run."""
    return 2 * (plan.repeat + 1) * sum(len(contestant.variants) for contestant in contestants)


def _run(contestant: Contestant, variant: str, phase: Phase, plan: Plan, threads: int) -> tuple[int, Span]:
    def once() -> Span:
        if phase == "prefill":
            return contestant.prefill(variant, threads, plan.prompt_tokens)
        return contestant.decode(variant, threads, plan.depth, plan.decode_tokens)

    times, span = long_enough(once)
    return times * (plan.prompt_tokens if phase == "prefill" else plan.decode_tokens), span


def long_enough(run: Callable[[], Span]) -> tuple[int, Span]:
    """Runs it once, or for a second where energy is counted; how often, and what it took all together."""
    times, span = 1, run()
    while span.joules is not None and span.seconds < LEAST_SECONDS:
        times, span = times + 1, span + run()
    return times, span
