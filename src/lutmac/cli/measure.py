"""Prefill and decode rates of several engines, measured in turns so that a noisy machine treats all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lutmac.cli.energy import EnergyCounters

Phase = Literal["prefill", "decode"]


class Contestant(Protocol):
    """An engine that has one model open."""

    name: str
    variants: tuple[str, ...]  # settings of which the best counts

    @property
    def core_seconds(self) -> float:
        """CPU time of the process, all threads, in what was measured last."""

    def prefill(self, variant: str, threads: int, tokens: int) -> float:
        """Seconds for a prompt of that many tokens with an empty KV cache."""

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> float:
        """Seconds for that many tokens, one at a time, behind max(1, depth) tokens of context."""


@dataclass(frozen=True)
class Plan:
    """What is measured. depth: tokens in the KV cache before decoding begins."""

    prompt_tokens: int
    decode_tokens: int
    depth: int
    repeat: int

    @property
    def longest_sequence(self) -> int:
        """Tokens that the KV cache has to hold."""
        return max(self.prompt_tokens, max(1, self.depth) + self.decode_tokens) + 1


@dataclass(frozen=True)
class Sample:
    """One measured run. Costs are per token; joules: None where the machine has no counters that we may read."""

    tokens_per_second: float
    core_seconds: float
    joules: float | None


@dataclass(frozen=True)
class Rates:
    """Tokens per second of one engine in one phase, a figure per repeat; and what a token costs, the same way."""

    engine: str
    variant: str
    phase: Phase
    threads: int
    tokens: int
    depth: int
    samples: tuple[float, ...]
    core_seconds: tuple[float, ...] = ()
    joules: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The middle figure, in tokens per second."""
        return statistics.median(self.samples)

    @property
    def core_seconds_per_token(self) -> float | None:
        """CPU time of the process per token, the middle figure; None where it was not measured."""
        return statistics.median(self.core_seconds) if self.core_seconds else None

    @property
    def joules_per_token(self) -> float | None:
        """Energy of the whole machine's processors per token, the middle figure; None without readable counters."""
        return statistics.median(self.joules) if self.joules else None


def measure(
    contestants: Sequence[Contestant],
    plan: Plan,
    threads: int,
    on_run: Callable[[], None] = lambda: None,
    counters: EnergyCounters | None = None,
) -> list[Rates]:
    """Prefill and decode rates, the best variant of each contestant; one unmeasured run of each goes first."""
    counters = EnergyCounters.find() if counters is None else counters
    results = []
    phases: tuple[Phase, ...] = ("prefill", "decode")
    for phase in phases:
        runs = [(contestant, variant) for contestant in contestants for variant in contestant.variants]
        samples: dict[tuple[str, str], list[Sample]] = {(c.name, v): [] for c, v in runs}
        for turn in range(plan.repeat + 1):
            for contestant, variant in runs:
                sample = _sample(contestant, variant, phase, plan, threads, counters)
                if turn > 0:
                    samples[contestant.name, variant].append(sample)
                on_run()
        for contestant in contestants:
            rates = [
                _rates(contestant.name, v, phase, plan, threads, samples[contestant.name, v])
                for v in contestant.variants
            ]
            results.append(max(rates, key=lambda r: r.median))
    return results


def runs_of(contestants: Sequence[Contestant], plan: Plan) -> int:
    """How many times `measure` calls on_run."""
    return 2 * (plan.repeat + 1) * sum(len(contestant.variants) for contestant in contestants)


def _rates(name: str, variant: str, phase: Phase, plan: Plan, threads: int, samples: list[Sample]) -> Rates:
    tokens, depth = (plan.prompt_tokens, 0) if phase == "prefill" else (plan.decode_tokens, max(1, plan.depth))
    return Rates(
        name,
        variant,
        phase,
        threads,
        tokens,
        depth,
        tuple(sample.tokens_per_second for sample in samples),
        tuple(sample.core_seconds for sample in samples),
        tuple(sample.joules for sample in samples if sample.joules is not None),
    )


def _sample(
    contestant: Contestant, variant: str, phase: Phase, plan: Plan, threads: int, counters: EnergyCounters
) -> Sample:
    tokens = plan.prompt_tokens if phase == "prefill" else plan.decode_tokens

    def run() -> float:
        if phase == "prefill":
            return contestant.prefill(variant, threads, tokens)
        return contestant.decode(variant, threads, plan.depth, tokens)

    began = time.perf_counter()
    seconds, joules = counters.measure(run)
    if joules is not None:
        # Around the measured part an engine may fill its cache: power is taken to be the same in both.
        joules *= seconds / (time.perf_counter() - began) / tokens
    return Sample(tokens / seconds, contestant.core_seconds / tokens, joules)
