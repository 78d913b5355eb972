"""`lutmac tune`: searches, keeps what it finds, forgets it again."""

import json
from collections.abc import Callable, Sequence
from typing import get_args

from lutmac.cli.tune_search import Goal, Measure, Phase, Price, Prices, Search, thread_candidates
from lutmac.engine.loading.tuning import Tuning

QUICK = ["--layers", 1, "--repeat", 1]


def test_tune_keeps_what_it_found_and_reset_forgets_it(lutmac, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = lutmac("tune", "--for", "energy", *QUICK, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["measured"] in ("joules", "core-seconds")
    assert report["gain"] >= 1
    kept = json.loads((tmp_path / "lutmac" / "tune.json").read_text())
    assert list(kept["machines"].values()) == [report["tuning"]]
    assert json.loads(lutmac("tune", "--reset", "--json").stdout)["removed"]
    assert not (tmp_path / "lutmac" / "tune.json").exists()
    assert "defaults hold" in lutmac("tune", "--reset").stdout


def shown(done: int, total: int, what: str) -> None:
    assert 0 < done <= total


PriceOf = Callable[[Tuning, Phase], float]


def priced(seconds: PriceOf, energy: PriceOf | None = None) -> Measure:
    """A machine on which phases take what the functions say; energy: default, as many joules as seconds."""

    def measure(tuning: Tuning, phases: Sequence[Phase]) -> Prices:
        return {phase: Price(seconds(tuning, phase), (energy or seconds)(tuning, phase)) for phase in phases}

    return measure


def test_the_search_finds_the_fastest_and_says_what_it_gains() -> None:
    def seconds(tuning: Tuning, phase: Phase) -> float:
        slow = 1.0 if tuning.tasks_per_product == 48 else 1.2
        return slow * (1.0 if tuning.block_kilobytes == 256 else 1.1) * (1 / (tuning.threads or 4))

    found = Search(priced(seconds), "speed", 1, shown).run((1, 2, 4))
    assert found.tuning == Tuning(tasks_per_product=48, block_kilobytes=256)
    assert abs(found.gain - 1.2 * 1.1) < 1e-9


def test_defaults_stay_where_nothing_is_better() -> None:
    found = Search(priced(lambda tuning, phase: 1.0), "speed", 1, shown).run((1, 2))
    assert found.tuning == Tuning()
    assert found.gain == 1.0


def test_decode_and_prefill_have_thread_counts_of_their_own() -> None:
    """Decode waits for memory from two threads on, prefill gains by each."""

    def seconds(tuning: Tuning, phase: Phase) -> float:
        threads = tuning.threads if phase == "decode" else tuning.prompt_threads
        assert threads is not None
        return 1 / min(threads, 2) * (1 + 0.02 * threads) if phase == "decode" else 1 / threads

    for goal in get_args(Goal):
        tuning = Search(priced(seconds), goal, 1, shown).run((1, 2, 3, 4)).tuning
        assert (tuning.threads, tuning.prompt_threads) == (2, None)


def test_energy_is_the_least_within_five_per_cent_of_the_best_speed() -> None:
    times = {1: 1.6, 2: 1.04, 3: 1.0, 4: 1.02}
    joules = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}

    def of(table: dict[int, float]) -> Callable[[Tuning, Phase], float]:
        return lambda tuning, phase: table[tuning.threads or 4]

    found = Search(priced(of(times), of(joules)), "energy", 1, shown).run((1, 2, 3, 4))
    assert found.tuning == Tuning(threads=2)
    assert abs(found.gain - 2.0) < 1e-9
    assert Search(priced(of(times), of(joules)), "speed", 1, shown).run((1, 2, 3, 4)).tuning == Tuning(threads=3)


def test_five_per_cent_are_not_lost_twice() -> None:
    """Two settings that each save energy and take 4% more time: one of them is taken."""

    def steps(tuning: Tuning) -> int:
        return (tuning.tasks_per_product == 8) + (tuning.block_kilobytes == 128)

    machine = priced(lambda tuning, phase: 1.04 ** steps(tuning), lambda tuning, phase: 0.5 ** steps(tuning))
    tuning = Search(machine, "energy", 1, shown).run((1,)).tuning
    assert steps(tuning) == 1


def test_thread_counts_to_try_end_with_all_cores():
    assert thread_candidates(1) == (1,)
    assert thread_candidates(2) == (1, 2)
    assert thread_candidates(12) == (1, 2, 3, 4, 6, 8, 12)
