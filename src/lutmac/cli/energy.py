"""Energy that work takes beyond what the idle machine takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

from lutmac.cli.energy_sources import EnergySource, find_source

NO_COUNTERS: Final = (
    "energy: nothing counts it here (powercap, perf's power/energy-pkg/, a battery in use); "
    "core-seconds per token stand in for joules"
)
IDLE_SECONDS: Final = 2.0
# Counters go on a thousand times a second at best, and a battery's power once: what is shorter is repeated.
LEAST_SECONDS: Final = 1.0


@dataclass(frozen=True)
class EnergyMeter:
    """A source of joules, and the power that the machine takes while it does nothing."""

    source: EnergySource
    idle_watts: float

    @classmethod
    def calibrated(cls, source: EnergySource, sleep: Callable[[float], None] = time.sleep) -> Self:
        """Measures the idle machine: to be called while nothing is computed."""
        before, began = source.read(), time.perf_counter()
        sleep(IDLE_SECONDS)
        joules, seconds = source.read() - before, time.perf_counter() - began
        return cls(source, joules / seconds)

    def read(self) -> float:
        """Joules so far, idle ones included."""
        return self.source.read()

    def joules_of_work(self, before: float, after: float, seconds: float) -> float:
        """What lies between two reads, less what the idle machine would have taken."""
        return max(0.0, after - before - self.idle_watts * seconds)

    def __str__(self) -> str:
        """For people."""
        return f"energy: {self.source.name}, less {self.idle_watts:.1f} W of the idle machine"


@cache
def machine_meter() -> EnergyMeter | None:
    """This machine's, looked for and calibrated once; None where nothing counts energy."""
    source = find_source()
    return None if source is None else EnergyMeter.calibrated(source)
