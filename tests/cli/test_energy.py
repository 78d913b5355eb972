"""Energy counters, against a file tree laid out as Linux's powercap interface lays it out."""

from pathlib import Path

import pytest

from lutmac.cli.energy import EnergyCounters
from lutmac.cli.measure import Plan, measure
from lutmac.cli.stopwatch import Span, Stopwatch

RANGE = 262_143_328_850


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
    assert [zone.name for zone in EnergyCounters.find(tmp_path).zones] == ["package-0", "dram", "package-1"]


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    file = add_zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    watch = Stopwatch(EnergyCounters.find(tmp_path))
    file.write_text("2000000\n")
    assert watch.read().joules == pytest.approx(3.0)


def test_without_counters_there_are_no_joules(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()  # as where the files are for root alone
    counters = EnergyCounters.find(tmp_path)
    assert not counters
    assert Stopwatch(counters).read().joules is None


class Engine:
    """Half a second a token on two cores."""

    name = "a"
    variants = ("",)

    def __init__(self, joules: float | None) -> None:
        self.joules = joules

    def prefill(self, variant: str, threads: int, tokens: int) -> Span:
        return Span(0.5, 1.0, self.joules).scaled(tokens)

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> Span:
        return self.prefill(variant, threads, tokens)


@pytest.mark.parametrize("joules", [6.0, None])
def test_costs_are_per_token(joules: float | None) -> None:
    rates = measure([Engine(joules)], Plan(4, 2, 0, 3), threads=2)
    assert [r.core_seconds_per_token for r in rates] == [1.0, 1.0]
    assert [r.joules_per_token for r in rates] == [joules, joules]


def test_cpu_time_counts_work_and_not_waiting() -> None:
    watch = Stopwatch()
    sum(range(100_000))
    span = watch.read()
    assert span.seconds > 0
    assert span.core_seconds > 0
