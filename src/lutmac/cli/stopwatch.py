"""What a piece of work cost: time, processor time, and energy where the machine counts it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

from lutmac.cli.energy import EnergyCounters


@dataclass(frozen=True)
class Span:
    """Time that passed, processor time that all threads of the process spent in it, and energy of the processors.

    joules: of the whole machine's packages and memory; None where no counter is readable.
    """

    seconds: float
    core_seconds: float
    joules: float | None = None

    def scaled(self, share: float) -> Span:
        """That share of everything."""
        joules = None if self.joules is None else self.joules * share
        return Span(self.seconds * share, self.core_seconds * share, joules)


class Stopwatch:
    """Measures from when it is made."""

    def __init__(self, counters: EnergyCounters | None = None) -> None:
        """Starts. counters: default, those of this machine."""
        self._counters = machine_counters() if counters is None else counters
        self._energy = self._counters.read()
        self._wall, self._cores = time.perf_counter(), time.process_time()

    def read(self) -> Span:
        """What has passed since."""
        seconds, cores = time.perf_counter() - self._wall, time.process_time() - self._cores
        joules = self._counters.joules(self._energy, self._counters.read()) if self._counters else None
        return Span(seconds, cores, joules)


@cache
def machine_counters() -> EnergyCounters:
    """This machine's energy counters, looked for once."""
    return EnergyCounters.find()
