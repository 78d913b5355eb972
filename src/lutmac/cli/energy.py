"""Energy from the processor's counters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

POWERCAP = Path("/sys/class/powercap")
NO_COUNTERS = "energy: no counters are readable here (/sys/class/powercap); core-seconds per token stand in for joules"


@dataclass(frozen=True)
class EnergyZone:
    """One counter of Linux's powercap interface. range_microjoules: the value at which it starts again from 0.

    https://www.kernel.org/doc/html/latest/power/powercap/powercap.html
    """

    name: str
    path: Path
    range_microjoules: int

    def read(self) -> int:
        """Microjoules counted so far."""
        return int((self.path / "energy_uj").read_text(encoding="ascii"))


class EnergyCounters:
    """The packages' counters and their memory's, which together are what computing takes. May be empty."""

    def __init__(self, zones: tuple[EnergyZone, ...]) -> None:
        """zones: that do not lie in one another."""
        self.zones = zones

    @classmethod
    def find(cls, root: Path = POWERCAP) -> Self:
        """The readable ones; Intel's and AMD's processors alike are called intel-rapl, and often only root may read."""
        zones = []
        for path in sorted(root.glob("intel-rapl:*")):
            package = re.fullmatch(r"intel-rapl:\d+", path.name) is not None
            try:
                name = (path / "name").read_text(encoding="ascii").strip()
                # Within a package, core and uncore are parts of its count, and memory is not; psys holds everything.
                if not (name.startswith("package") if package else name == "dram"):
                    continue
                zone = EnergyZone(name, path, int((path / "max_energy_range_uj").read_text(encoding="ascii")))
                zone.read()
            except (OSError, ValueError):
                continue
            zones.append(zone)
        return cls(tuple(zones))

    def __bool__(self) -> bool:
        """Whether there is a counter."""
        return bool(self.zones)

    def read(self) -> tuple[int, ...]:
        """All counters, in microjoules."""
        return tuple(zone.read() for zone in self.zones)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Energy between two reads. A counter that went down started again, once: it takes minutes to come round."""
        total = 0
        for zone, begin, end in zip(self.zones, before, after, strict=True):
            total += end - begin if end >= begin else end - begin + zone.range_microjoules
        return total / 1e6
