"""Energy: sources, against file trees laid out as Linux lays them out; what of it is work; runs of a second."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lutmac.cli.energy import EnergyMeter
from lutmac.cli.energy_sources import Battery, Perf, Powercap, open_perf_event
from lutmac.cli.measure import Plan, measure
from lutmac.cli.stopwatch import Span, Stopwatch
from lutmac.errors import InvalidRequestError

RANGE = 262_143_328_850


@dataclass
class Joules:
    """A source that counts what a test says."""

    name: str = "a test"
    joules: float = 0.0

    def read(self) -> float:
        return self.joules


def add_zone(root: Path, folder: str, name: str, microjoules: int, largest: int = RANGE) -> Path:
    zone = root / folder
    zone.mkdir()
    (zone / "name").write_text(name + "\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{largest}\n")
    return zone / "energy_uj"


def test_packages_and_their_memory_are_counted_once(tmp_path: Path) -> None:
    for folder, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        add_zone(tmp_path, folder, name, 0)
    found = Powercap.find(tmp_path)
    assert found is not None
    assert [zone.name for zone in found.zones] == ["package-0", "dram", "package-1"]


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    file = add_zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    found = Powercap.find(tmp_path)
    assert found is not None
    file.write_text("2000000\n")
    assert found.read() == pytest.approx(3.0)
    file.write_text("5000000\n")
    assert found.read() == pytest.approx(6.0)


def test_what_only_root_may_read_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    assert Powercap.find(tmp_path) is None
    assert Perf.find(tmp_path) is None
    assert Battery.find(tmp_path) is None


def describe_perf(root: Path) -> None:
    events = root / "events"
    events.mkdir()
    (root / "type").write_text("21\n")
    (root / "cpumask").write_text("0,24\n")
    for name, config in (("energy-pkg", "0x02"), ("energy-ram", "0x03")):
        (events / name).write_text(f"event={config}\n")
        (events / f"{name}.scale").write_text("0.25\n")


def test_perf_counts_all_packages_and_their_memory(tmp_path: Path) -> None:
    describe_perf(tmp_path)
    counts = {(21, 2, 0): 1000, (21, 2, 24): 2000, (21, 3, 0): 30, (21, 3, 24): 40}
    found = Perf.find(tmp_path, lambda kind, config, cpu: lambda: counts[kind, config, cpu])
    assert found is not None
    for key in counts:
        counts[key] += 4
    assert found.read() == pytest.approx(4.0)


def test_perf_is_no_source_where_the_system_refuses(tmp_path: Path) -> None:
    describe_perf(tmp_path)

    def refuse(kind: int, config: int, cpu: int) -> None:
        raise PermissionError(13, "Permission denied")

    assert Perf.find(tmp_path, refuse) is None  # type: ignore[arg-type]


def test_the_systems_call_opens_a_counter() -> None:
    """With an event of software, which every machine has: nanoseconds of a CPU's clock."""
    try:
        read = open_perf_event(kind=1, config=0, cpu=min(os.sched_getaffinity(0)))
    except OSError as error:
        pytest.skip(f"perf_event_open is refused here: {error.strerror}")
    before = read()
    sum(range(100_000))
    assert read() > before


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def make_battery(root: Path, status: str, **numbers: int) -> Path:
    path = root / "BAT0"
    path.mkdir()
    (path / "status").write_text(f"{status}\n")
    for name, value in numbers.items():
        (path / name).write_text(f"{value}\n")
    return path


@pytest.mark.parametrize("numbers", [{"power_now": 12_000_000}, {"current_now": -1_000_000, "voltage_now": 12_000_000}])
def test_a_batterys_power_is_summed(tmp_path: Path, numbers: dict[str, int]) -> None:
    clock = Clock()
    battery = Battery(make_battery(tmp_path, "Discharging", **numbers), clock)
    assert battery.read() == 0
    clock.now = 2.0
    assert battery.read() == pytest.approx(24.0)


def test_a_battery_counts_while_it_is_discharged_only(tmp_path: Path) -> None:
    path = make_battery(tmp_path, "Charging", power_now=12_000_000)
    assert Battery.find(tmp_path) is None
    (path / "status").write_text("Discharging\n")
    found = Battery.find(tmp_path)
    assert found is not None
    (path / "status").write_text("Full\n")
    with pytest.raises(InvalidRequestError, match="BAT0 is not being discharged"):
        found.read()


def test_the_idle_machines_power_is_no_work() -> None:
    source = Joules()

    def sleep(seconds: float) -> None:
        source.joules += 1e6

    meter = EnergyMeter.calibrated(source, sleep)
    assert meter.idle_watts > 0
    meter = EnergyMeter(source, idle_watts=5.0)
    assert meter.joules_of_work(10.0, 30.0, 2.0) == pytest.approx(10.0)
    assert meter.joules_of_work(10.0, 12.0, 2.0) == 0
    watch = Stopwatch(EnergyMeter(source, idle_watts=0.0))
    source.joules += 7
    assert watch.read().joules == pytest.approx(7.0)


@dataclass
class Engine:
    """A token takes so many seconds, on two cores."""

    joules: float | None
    seconds: float = 0.5
    name: str = "a"
    variants: tuple[str, ...] = ("",)
    runs: list[int] = field(default_factory=list)

    def prefill(self, variant: str, threads: int, tokens: int) -> Span:
        self.runs.append(tokens)
        return Span(self.seconds, 2 * self.seconds, self.joules).scaled(tokens)

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> Span:
        return self.prefill(variant, threads, tokens)


@pytest.mark.parametrize("joules", [6.0, None])
def test_costs_are_per_token(joules: float | None) -> None:
    rates = measure([Engine(joules)], Plan(4, 2, 0, 3), threads=2)
    assert [r.core_seconds_per_token for r in rates] == [1.0, 1.0]
    assert [r.joules_per_token for r in rates] == [joules, joules]


def test_a_run_lasts_a_second_where_energy_is_counted() -> None:
    counted, uncounted = Engine(6.0, 0.125), Engine(None, 0.125)
    plan = Plan(prompt_tokens=4, decode_tokens=2, depth=0, repeat=1)
    prefill, decode = measure([counted], plan, threads=1)
    assert counted.runs == [4, 4] * 2 + [2, 2, 2, 2] * 2
    assert (prefill.median, decode.median) == (8.0, 8.0)
    assert (prefill.joules_per_token, decode.joules_per_token) == (6.0, 6.0)
    measure([uncounted], plan, threads=1)
    assert uncounted.runs == [4, 4, 2, 2]


def test_cpu_time_counts_work_and_not_waiting() -> None:
    watch = Stopwatch()
    sum(range(100_000))
    span = watch.read()
    assert span.seconds > 0
    assert span.core_seconds > 0
