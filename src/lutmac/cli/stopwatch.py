"""What a piece of work cost: time, processor time, and energy where the machine counts it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lutmac.cli.energy import EnergyMeter, machine_meter


@dataclass(frozen=True)
class Span:
    """Time that passed, processor time that all threads of the process spent in it, and energy that the work took.

    joules: of the whole machine as its source counts it, less those of the idle machine; None where nothing counts.
    """

    seconds: float
    core_seconds: float
    joules: float | None = None

    def scaled(self, share: float) -> Span:
        """That share of everything."""
        joules = None if self.joules is None else self.joules * share
        return Span(self.seconds * share, self.core_seconds * share, joules)

    def __add__(self, other: Span) -> Span:
        """One after the other."""
        joules = None if self.joules is None or other.joules is None else self.joules + other.joules
        return Span(self.seconds + other.seconds, self.core_seconds + other.core_seconds, joules)


class Stopwatch:
    """Measures from when it is made."""

    def __init__(self, meter: EnergyMeter | None = None) -> None:
        """Starts. meter: default, this machine's."""
        self._meter = machine_meter() if meter is None else meter
        self._energy = 0.0 if self._meter is None else self._meter.read()
        self._wall, self._cores = time.perf_counter(), time.process_time()

    def read(self) -> Span:
        """What has passed since."""
        seconds, cores = time.perf_counter() - self._wall, time.process_time() - self._cores
        joules = None
        if self._meter is not None:
            joules = self._meter.joules_of_work(self._energy, self._meter.read(), seconds)
        return Span(seconds, cores, joules)
