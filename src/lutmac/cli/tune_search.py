"""The search behind `lutmac tune`: one parameter after the other, candidates measured in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Literal

from lutmac import _native
from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.stopwatch import Span
from lutmac.engine.loading.tuning import Tuning
from lutmac.engine.measuring.synthetic import SyntheticModel

Goal = Literal["speed", "energy"]
Cost = Callable[[Tuning], float]
Progress = Callable[[int, int, str], None]

PROMPT_TOKENS, DECODE_TOKENS = 128, 32
# Less is noise: another round may well turn it round.
WORTHWHILE = 0.01
CANDIDATES: dict[str, tuple[int, ...]] = {
    "tasks_per_product": (8, 16, 24, 48, 96),
    "spin_microseconds": (0, 10, 50),
    "block_kilobytes": (128, 256, 512, 1024),
}


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


def compare(cost: Cost, first: Tuning, others: list[Tuning], repeat: int, on_run: Callable[[], None]) -> list[float]:
    """Costs of the others as multiples of the first's: medians of ratios within a round, all taking turns."""
    ratios: list[list[float]] = [[] for _ in others]
    for turn in range(repeat + 1):
        base = cost(first)
        on_run()
        for index, other in enumerate(others):
            ratio = cost(other) / base
            on_run()
            if turn > 0:  # the first round warms up
                ratios[index].append(ratio)
    return [statistics.median(found) for found in ratios]


def search(cost: Cost, threads: tuple[int, ...], repeat: int, progress: Progress) -> Found:
    """Goes through the parameters, and keeps a value where it is worth while; then holds the result to the defaults.

    cost: of a tuning, in whatever unit; each call measures anew. threads: numbers to try, the default last.
    """
    grid: dict[str, tuple[int, ...]] = {"threads": threads, **CANDIDATES}
    total, done = (repeat + 1) * (sum(len(values) for values in grid.values()) + 2), 0

    def on_run() -> None:
        nonlocal done
        done += 1
        progress(min(done, total), total, "tuning")

    default = best = Tuning(threads=threads[-1])
    trials = []
    for parameter, values in grid.items():
        others = [replace(best, **{parameter: value}) for value in values if value != getattr(best, parameter)]
        ratios = compare(cost, best, others, repeat, on_run)
        trials += [Trial(parameter, getattr(o, parameter), ratio) for o, ratio in zip(others, ratios, strict=True)]
        if ratios and min(ratios) < 1 - WORTHWHILE:
            best = others[ratios.index(min(ratios))]
    gain = 1.0
    if best != default:
        gain = 1 / compare(cost, default, [best], repeat, on_run)[0]
        if gain < 1 + WORTHWHILE:  # what single changes seemed to gain did not hold
            best, gain = default, 1.0
    progress(total, total, "tuning")
    # The default number of threads stays a default: it follows the cores that a process is given.
    return Found(replace(best, threads=None if best.threads == threads[-1] else best.threads), gain, trials)


class Workload:
    """Prefill and decode of a model of random weights, which a tuning applies to as if it were loaded under it."""

    def __init__(self, model: SyntheticModel, goal: Goal) -> None:
        """goal: "energy" is CPU time where no counter is readable."""
        self._model = model
        self._goal = goal
        self._made: dict[tuple[int, int], EngineContestant] = {}

    def cost(self, tuning: Tuning) -> float:
        """Geometric mean of a prompt's and a reply's seconds, joules or core-seconds, so that both weigh the same."""
        tuning.apply()
        key = (tuning.tasks_per_product, tuning.block_kilobytes)
        if key not in self._made:
            self._made[key] = EngineContestant(self._model.compiled_anew().engine)
        contestant, threads = self._made[key], tuning.threads or _native.default_threads()
        prefill = self._cost_of(contestant.prefill("", threads, PROMPT_TOKENS))
        decode = self._cost_of(contestant.decode("", threads, 1, DECODE_TOKENS))
        return sqrt(prefill * decode)

    def _cost_of(self, span: Span) -> float:
        if self._goal == "speed":
            return span.seconds
        return span.core_seconds if span.joules is None else span.joules
