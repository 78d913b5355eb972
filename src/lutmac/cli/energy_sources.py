"""Where joules are read: the processor's counters, by powercap or by perf, or a laptop's battery."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

from lutmac.errors import InvalidRequestError

POWERCAP: Final = Path("/sys/class/powercap")
PERF: Final = Path("/sys/bus/event_source/devices/power")
POWER_SUPPLIES: Final = Path("/sys/class/power_supply")
SAMPLES_PER_SECOND: Final = 10


class EnergySource(Protocol):
    """Something that counts joules."""

    @property
    def name(self) -> str:
        """What is counted, and by what."""

    def read(self) -> float:
        """Joules counted since the source was found. Raises InvalidRequestError where it counts no more."""


@dataclass
class PowercapZone:
    """One counter of Linux's powercap interface, with how far it was counted.

    range_microjoules: the value at which the counter starts again from 0.
    https://www.kernel.org/doc/html/latest/power/powercap/powercap.html
    """

    name: str
    path: Path
    range_microjoules: int
    last: int
    counted: int = 0

    def read(self) -> int:
        """Microjoules. A counter that went down started again, once: it takes minutes to come round."""
        now = _number(self.path / "energy_uj")
        self.counted += now - self.last if now >= self.last else now - self.last + self.range_microjoules
        self.last = now
        return self.counted


class Powercap:
    """The packages' counters and their memory's, which together are what computing takes."""

    def __init__(self, zones: tuple[PowercapZone, ...]) -> None:
        """zones: that do not lie in one another."""
        self.zones = zones
        self.name = f"powercap's {', '.join(zone.name for zone in zones)}"

    @classmethod
    def find(cls, root: Path = POWERCAP) -> Self | None:
        """The readable ones; Intel's and AMD's processors alike are called intel-rapl, and often only root may read."""
        zones = []
        for path in sorted(root.glob("intel-rapl:*")):
            package = re.fullmatch(r"intel-rapl:\d+", path.name) is not None
            try:
                name = (path / "name").read_text(encoding="ascii").strip()
                # Within a package, core and uncore are parts of its count, and memory is not; psys holds everything.
                if not (name.startswith("package") if package else name == "dram"):
                    continue
                largest, now = _number(path / "max_energy_range_uj"), _number(path / "energy_uj")
            except (OSError, ValueError):
                continue
            zones.append(PowercapZone(name, path, largest, now))
        return cls(tuple(zones)) if zones else None

    def read(self) -> float:
        """Joules of all zones."""
        return sum(zone.read() for zone in self.zones) / 1e6


# Opens the counter of an event (type, config, CPU); what it returns reads it. Raises OSError.
OpenEvent = Callable[[int, int, int], Callable[[], int]]


class Perf:
    """perf's events ``power/energy-pkg/`` and ``power/energy-ram/``, for where powercap is root's alone.

    https://man7.org/linux/man-pages/man2/perf_event_open.2.html
    """

    def __init__(self, counters: tuple[tuple[Callable[[], int], float], ...]) -> None:
        """counters: of each event and package, what reads it, and joules of one count."""
        self._counters = counters
        self._begin = self._total()
        self.name = "perf's power/energy-pkg/"

    @classmethod
    def find(cls, root: Path = PERF, open_event: OpenEvent | None = None) -> Self | None:
        """The events of each package, of its memory where there is one; None where they cannot be opened."""
        opener, counters = open_event or open_perf_event, []
        try:
            kind = _number(root / "type")
            cpus = _cpu_list((root / "cpumask").read_text(encoding="ascii"))
            for name in ("energy-pkg", "energy-ram"):
                described = root / "events" / name
                if name == "energy-ram" and not described.exists():
                    continue
                config = int(re.fullmatch(r"event=(0x[0-9a-f]+|\d+)\s*", described.read_text(encoding="ascii"))[1], 0)  # type: ignore[index]
                joules = float(described.with_name(f"{name}.scale").read_text(encoding="ascii"))
                counters += [(opener(kind, config, cpu), joules) for cpu in cpus]
        except (OSError, ValueError, TypeError):
            return None
        return cls(tuple(counters)) if counters else None

    def read(self) -> float:
        """Joules of all packages."""
        return self._total() - self._begin

    def _total(self) -> float:
        return sum(read() * joules for read, joules in self._counters)


_SYSCALLS: Final = {"x86_64": 298, "aarch64": 241}  # perf_event_open's number


def open_perf_event(kind: int, config: int, cpu: int) -> Callable[[], int]:
    """Opens a counter of all processes on one CPU. Raises OSError where the system does not let us, or has none."""
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"perf_event_open's number on {platform.machine()} is not known")
    size = 64  # of the first version of struct perf_event_attr; what is not set is zero
    attributes = bytearray(size)
    attributes[0:4], attributes[4:8] = kind.to_bytes(4, "little"), size.to_bytes(4, "little")
    attributes[8:16] = config.to_bytes(8, "little")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * size).from_buffer(attributes)
    every_process, no_group, close_on_exec = -1, -1, 8
    words = (ctypes.c_long(value) for value in (every_process, cpu, no_group, close_on_exec))
    descriptor = libc.syscall(ctypes.c_long(number), ctypes.byref(buffer), *words)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return lambda: int.from_bytes(os.read(descriptor, 8), "little")


@dataclass
class Battery:
    """A laptop's battery while it is discharged: the whole machine's power, its display included, summed over time.

    It tells its power only; that changes every second or slower, so spans of several seconds are told from each other.
    https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-power
    """

    path: Path
    clock: Callable[[], float] = time.monotonic
    _joules: float = 0.0
    _last: tuple[float, float] | None = None  # time and power
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """The battery's."""
        return f"the battery {self.path.name}"

    @classmethod
    def find(cls, root: Path = POWER_SUPPLIES) -> Self | None:
        """The first battery that is being discharged, watched from now on."""
        for path in sorted(root.glob("*")):
            battery = cls(path)
            try:
                battery.read()
            except (InvalidRequestError, OSError, ValueError):
                continue
            threading.Thread(target=battery._watch, name="battery", daemon=True).start()
            return battery
        return None

    def read(self) -> float:
        """Joules so far."""
        with self._lock:
            now, watts = self.clock(), self._watts()
            if self._last is not None:
                before, earlier = self._last
                self._joules += (now - before) * (watts + earlier) / 2
            self._last = now, watts
            return self._joules

    def _watts(self) -> float:
        if (self.path / "status").read_text(encoding="ascii").strip() != "Discharging":
            raise InvalidRequestError(f"{self.path.name} is not being discharged: energy is measured without a plug")
        if (power := self.path / "power_now").exists():
            return abs(_number(power)) / 1e6
        return abs(_number(self.path / "current_now")) * _number(self.path / "voltage_now") / 1e12

    def _watch(self) -> None:
        while True:
            time.sleep(1 / SAMPLES_PER_SECOND)
            try:
                self.read()
            except (InvalidRequestError, OSError, ValueError):
                return  # who reads it next is told


def find_source() -> EnergySource | None:
    """The nearest to the work that this machine lets us read; None where there is none."""
    return Powercap.find() or Perf.find() or Battery.find()


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _cpu_list(text: str) -> list[int]:
    """``"0,24-25"`` as numbers."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
