"""Prefill and decode rates of several engines, measured in turns so that a noisy machine treats all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lutmac.graph.compile import CacheType

Phase = Literal["prefill", "decode"]


class Contestant(Protocol):
    """An engine that has one model open."""

    name: str
    variants: tuple[str, ...]  # settings of which the best counts

    def prefill(self, variant: str, threads: int, tokens: int) -> float:
        """Seconds for a prompt of that many tokens with an empty KV cache."""

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> float:
        """Seconds for that many tokens, one at a time, behind max(1, depth) tokens of context."""


@dataclass(frozen=True)
class Plan:
    """What is measured. depth: tokens in the KV cache before decoding begins. kv_cache: what lutmac keeps them as."""

    prompt_tokens: int
    decode_tokens: int
    depth: int
    repeat: int
    kv_cache: CacheType = "f16"

    @property
    def longest_sequence(self) -> int:
        """Tokens that the KV cache has to hold."""
        return max(self.prompt_tokens, max(1, self.depth) + self.decode_tokens) + 1


@dataclass(frozen=True)
class Rates:
    """Tokens per second of one engine in one phase, a figure per repeat."""

    engine: str
    variant: str
    phase: Phase
    threads: int
    tokens: int
    depth: int
    samples: tuple[float, ...]

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
        samples: dict[tuple[str, str], list[float]] = {(c.name, v): [] for c, v in runs}
        for turn in range(plan.repeat + 1):
            for contestant, variant in runs:
                rate = _rate(contestant, variant, phase, plan, threads)
                if turn > 0:
                    samples[contestant.name, variant].append(rate)
                on_run()
        for contestant in contestants:
            variant = max(contestant.variants, key=lambda v, c=contestant: statistics.median(samples[c.name, v]))  # type: ignore[misc]
            tokens, depth = (plan.prompt_tokens, 0) if phase == "prefill" else (plan.decode_tokens, max(1, plan.depth))
            figures = tuple(samples[contestant.name, variant])
            results.append(Rates(contestant.name, variant, phase, threads, tokens, depth, figures))
    return results


def runs_of(contestants: Sequence[Contestant], plan: Plan) -> int:
    """How many times `measure` calls on_run."""
    return 2 * (plan.repeat + 1) * sum(len(contestant.variants) for contestant in contestants)


def _rate(contestant: Contestant, variant: str, phase: Phase, plan: Plan, threads: int) -> float:
    if phase == "prefill":
        return plan.prompt_tokens / contestant.prefill(variant, threads, plan.prompt_tokens)
    return plan.decode_tokens / contestant.decode(variant, threads, plan.depth, plan.decode_tokens)
