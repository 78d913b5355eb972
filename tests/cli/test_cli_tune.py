"""`lutmac tune`: searches, keeps what it finds, forgets it again."""

import json

from lutmac.cli.tune_search import search, thread_candidates
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


def test_the_search_finds_the_cheapest_and_says_what_it_gains():
    def cost(tuning: Tuning) -> float:
        slow = 1.0 if tuning.tasks_per_product == 48 else 1.2
        return slow * (1.0 if tuning.block_kilobytes == 256 else 1.1) * (1 / (tuning.threads or 4))

    found = search(cost, (1, 2, 4), 1, lambda done, total, what: None)
    assert found.tuning == Tuning(tasks_per_product=48, block_kilobytes=256)
    assert abs(found.gain - 1.2 * 1.1) < 1e-9


def test_defaults_stay_where_nothing_is_better():
    found = search(lambda tuning: 1.0, (1, 2), 1, lambda done, total, what: None)
    assert found.tuning == Tuning()
    assert found.gain == 1.0


def test_thread_counts_to_try_end_with_all_cores():
    assert thread_candidates(1) == (1,)
    assert thread_candidates(2) == (1, 2)
    assert thread_candidates(12) == (1, 2, 3, 4, 6, 8, 12)
