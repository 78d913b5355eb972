"""The search behind `lutmac tune`: one parameter after the other, candidates measured in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final, Literal

from lutmac.engine.loading.tuning import Tuning

Goal = Literal["speed", "energy"]
Phase = Literal["prefill", "decode"]
Progress = Callable[[int, int, str], None]

# Less is noise: another round may well turn it round.
WORTHWHILE: Final = 0.01
# How much slower than the fastest a tuning for energy may be.
MOST_SLOWER: Final = 1.05
CANDIDATES: Final[dict[str, tuple[int, ...]]] = {
    "tasks_per_product": (8, 24, 48, 64, 128),
    "spin_microseconds": (0, 10, 50),
    "block_kilobytes": (128, 256, 512, 1024),
}
BOTH: Final[tuple[Phase, ...]] = ("prefill", "decode")
# The phases that a parameter has something to do with.
PHASES: Final[dict[str, tuple[Phase, ...]]] = {"threads": ("decode",), "prompt_threads": ("prefill",)}


@dataclass(frozen=True)
class Price:
    """What a phase takes, or how many times as much as another does.

    energy: joules, or core-seconds where nothing counts them.
    """

    seconds: float
    energy: float

    def over(self, other: Price) -> Price:
        """As multiples of another."""
        return Price(self.seconds / other.seconds, self.energy / other.energy)


Prices = dict[Phase, Price]
# What a tuning takes in the phases that are asked for; each call measures anew.
Measure = Callable[[Tuning, Sequence[Phase]], Prices]


@dataclass(frozen=True)
class Trial:
    """One value of one parameter; ratio: cost over that of what it would replace (below 1 is better)."""

    parameter: str
    value: int | None
    ratio: float


@dataclass(frozen=True)
class Found:
    """What the search ended with. gain: how many times less it costs than the defaults, measured in turns once more."""

    tuning: Tuning
    gain: float
    trials: list[Trial] = field(default_factory=list)


def thread_candidates(usable: int) -> tuple[int, ...]:
    """1, 2, 4 and so on up to the usable cores, and half as many again on the way."""
    counts = {usable}
    count = 1
    while count < usable:
        counts |= {count, min(usable, count * 3 // 2)}
        count *= 2
    return tuple(sorted(counts))


@dataclass
class Search:
    """A search on its way.

    goal: "speed" takes the least seconds; "energy" the least joules within 5% of the best speed. progress: called after
    each of `total` measurements.
    """

    measure: Measure
    goal: Goal
    repeat: int
    progress: Progress
    total: int = 0
    done: int = 0
    # How many times as slow as the fastest tuning so far the best one is.
    behind: dict[Phase, float] = field(default_factory=lambda: dict.fromkeys(BOTH, 1.0))

    def run(self, threads: tuple[int, ...]) -> Found:
        """Goes through the parameters, and keeps what is worth while; then holds the result to the defaults.

        threads: numbers to try, the default last.
        """
        grid: dict[str, tuple[int, ...]] = {"threads": threads, "prompt_threads": threads, **CANDIDATES}
        self.total = (self.repeat + 1) * (sum(len(values) for values in grid.values()) + 2)
        default = best = Tuning(threads=threads[-1], prompt_threads=threads[-1])
        trials: list[Trial] = []
        for parameter, values in grid.items():
            phases = PHASES.get(parameter, BOTH)
            others = [replace(best, **{parameter: value}) for value in values if value != getattr(best, parameter)]
            ratios = self.compare(best, others, phases)
            trials += [
                Trial(parameter, getattr(o, parameter), self._cost(r)) for o, r in zip(others, ratios, strict=True)
            ]
            chosen = self._choose(ratios, phases)
            best = best if chosen is None else others[chosen]
        gain = 1.0
        if best != default:
            gain = 1 / self._cost(self.compare(default, [best], BOTH)[0])
            if gain < 1 + WORTHWHILE:  # what single changes seemed to gain did not hold
                best, gain = default, 1.0
        self.progress(self.total, self.total, "tuning")
        # The default number of threads stays a default: it follows the cores that a process is given.
        own: dict[str, Any] = {name: None for name in PHASES if getattr(best, name) == threads[-1]}
        return Found(replace(best, **own), gain, trials)

    def compare(self, first: Tuning, others: list[Tuning], phases: Sequence[Phase]) -> list[Prices]:
        """Prices of the others as multiples of the first's: medians of ratios within a round, all taking turns."""
        rounds: list[list[Prices]] = [[] for _ in others]
        for turn in range(self.repeat + 1):
            base = self._measure(first, phases)
            for found, other in zip(rounds, others, strict=True):
                prices = self._measure(other, phases)
                if turn > 0:  # the first round warms up
                    found.append({phase: prices[phase].over(base[phase]) for phase in phases})
        return [{phase: _middle([prices[phase] for prices in found]) for phase in phases} for found in rounds]

    def _measure(self, tuning: Tuning, phases: Sequence[Phase]) -> Prices:
        prices = self.measure(tuning, phases)
        self.done += 1
        self.progress(min(self.done, self.total), self.total, "tuning")
        return prices

    def _cost(self, ratios: Prices) -> float:
        """Geometric mean of the phases, so that a prompt and a reply weigh the same."""
        costs = [price.seconds if self.goal == "speed" else price.energy for price in ratios.values()]
        return prod(costs) ** (1 / len(costs))

    def _choose(self, ratios: list[Prices], phases: Sequence[Phase]) -> int | None:
        """Which of these replaces the best so far; None for none. ratios: over the best so far."""
        fastest = {
            phase: min([1.0, *(self.behind[phase] * prices[phase].seconds for prices in ratios)]) for phase in phases
        }

        def fast_enough(prices: Prices) -> bool:
            late = (self.behind[phase] * prices[phase].seconds / fastest[phase] for phase in phases)
            return self.goal == "speed" or max(late) <= MOST_SLOWER

        same = dict.fromkeys(phases, Price(1.0, 1.0))
        able = [index for index, prices in enumerate(ratios) if fast_enough(prices)]
        chosen = min(able, key=lambda index: self._cost(ratios[index]), default=None)
        if chosen is not None and fast_enough(same) and self._cost(ratios[chosen]) >= 1 - WORTHWHILE:
            chosen = None
        taken = same if chosen is None else ratios[chosen]
        for phase in phases:
            self.behind[phase] *= taken[phase].seconds / fastest[phase]
        return chosen


def _middle(prices: list[Price]) -> Price:
    return Price(statistics.median(p.seconds for p in prices), statistics.median(p.energy for p in prices))
