"""What `lutmac tune` keeps: found again by this machine alone, and never able to break anything or change a result."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.engine.loading.tuning import Tuning, machine_key, read_tuning, remove_tuning, save_tuning
from lutmac.errors import InvalidRequestError
from tiny_llama import TinyLlama

OWN = Tuning(spin_microseconds=10, tasks_per_product=48, block_kilobytes=256, threads=1)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lutmac" / "tune.json"
    assert read_tuning(path) is None
    save_tuning(path, OWN)
    assert read_tuning(path) == OWN
    assert [file.name for file in path.parent.iterdir()] == ["tune.json"]
    assert remove_tuning(path)
    assert not remove_tuning(path)


def test_a_file_from_before_prompts_had_threads_of_their_own_is_read(tmp_path: Path) -> None:
    path, entry = tmp_path / "tune.json", asdict(OWN)
    del entry["prompt_threads"]
    path.write_text(json.dumps({"format": 1, "machines": {machine_key(): entry}}))
    assert read_tuning(path) == OWN


def test_prompts_and_replies_have_threads_of_their_own(tiny: TinyLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    model, steps = lutmac.load(tiny.path, threads=3), list[tuple[int, int]]()
    runner = model.engine._runner
    program = runner._program

    class Recorder:
        def step(self, cache: object, **given: Any) -> None:
            steps.append((len(given["tokens"]), given["threads"]))
            program.step(cache, **given)

    monkeypatch.setattr(runner, "_program", Recorder())
    model.logits(list(range(40)))
    model.engine.prompt_threads = 2
    model.logits(list(range(40)))
    model.logits([1])
    assert steps == [(40, 3), (40, 2), (1, 3)]


def test_other_machines_keep_theirs_and_lend_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tune.json"
    other = {"spin_microseconds": 0}
    path.write_text(json.dumps({"format": 1, "machines": {"another CPU, lutmac 9": other}}))
    assert read_tuning(path) is None
    save_tuning(path, OWN)
    assert json.loads(path.read_text())["machines"]["another CPU, lutmac 9"] == other
    assert not caplog.records


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "machines": {}}',
        '{"format": 1, "machines": []}',
        json.dumps({"format": 1, "machines": {machine_key(): 3}}),
        json.dumps({"format": 1, "machines": {machine_key(): {"threads": 1}}}),
        json.dumps({"format": 1, "machines": {machine_key(): {**vars(OWN), "spin_microseconds": 51}}}),
        json.dumps({"format": 1, "machines": {machine_key(): {**vars(OWN), "tasks_per_product": "many"}}}),
    ],
)
def test_nonsense_is_ignored_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    path = tmp_path / "tune.json"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert read_tuning(path) is None
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_values_out_of_range_are_refused() -> None:
    for name, value in (("spin_microseconds", -1), ("tasks_per_product", 0), ("block_kilobytes", True), ("threads", 0)):
        with pytest.raises(InvalidRequestError, match=name):
            Tuning(**{name: value})


def test_tuning_does_not_change_a_bit(tiny: TinyLlama) -> None:
    tokens = [(11 * i) % 256 for i in range(100)]
    expected = lutmac.load(tiny.path, threads=1).logits(tokens)
    try:
        for tuning in (Tuning(0, 1, 1), Tuning(5, 4096, 1 << 20), Tuning(50, 3, 16)):
            tuning.apply()
            for threads in (1, 2, 5):
                np.testing.assert_array_equal(lutmac.load(tiny.path, threads=threads).logits(tokens), expected)
    finally:
        Tuning().apply()


def test_a_model_is_loaded_as_the_file_says(tiny: TinyLlama, tmp_path: Path) -> None:
    save_tuning(tmp_path / "lutmac" / "tune.json", OWN)
    code = "import sys, lutmac; print(lutmac.load(sys.argv[1]).threads)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tiny.path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "1\n"
    assert result.stderr == ""
