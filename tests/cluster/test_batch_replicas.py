"""`lutmac batch --ray`: every line is answered once, whatever happens to replicas and to the command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import named
from ray.cluster_utils import Cluster

import lutmac
from batches import COMMAND, completion, entries, run, write_lines
from lutmac.cli.main import run_command

pytestmark = pytest.mark.slow
REPLICA = b"ray::MapWorker(MapBatches(BatchReplica))"


def test_lines_are_answered_once_though_a_replica_and_then_the_command_are_killed(
    cluster: Cluster, smollm2_path: Path, tmp_path: Path
) -> None:
    source, destination = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    names = [f"request {i}" for i in range(128)]
    body = {"model": "smollm2", "max_tokens": 16}
    lines = [completion(name, **body, prompt=f"My number is {i}, and") for i, name in enumerate(names)]
    write_lines(source, [*lines, "{", completion("request 0")])
    command = [*COMMAND, source, destination, "--model", smollm2_path, "--name", "smollm2"]
    command += ["--ray", "--ray-address", cluster.address]

    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    _wait_for_lines(process, destination, 10)
    os.kill(named(REPLICA)[0], signal.SIGKILL)
    _wait_for_lines(process, destination, 60)
    process.kill()
    process.wait()
    kept = destination.read_text()

    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"{destination}: ")  # Ray may have had something to say before
    assert destination.read_text().startswith(kept)
    found = entries(destination)
    assert sorted(entry["custom_id"] for entry in found if entry["error"] is None) == sorted(names)
    assert {entry["error"]["code"] for entry in found if entry["error"]} == {"invalid_json_line", "duplicate_custom_id"}
    assert len(found) == len(names) + 2
    texts = {entry["custom_id"]: entry["response"]["body"] for entry in found if entry["error"] is None}
    model = lutmac.load(smollm2_path, threads=1)
    for i in (0, 64, 127):
        expected = model.generate(f"My number is {i}, and", max_tokens=16, temperature=0, ignore_eos=True)
        assert texts[f"request {i}"]["choices"][0]["text"] == expected.text


def test_mistakes_are_one_line(
    cluster: Cluster,
    smollm2_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = write_lines(tmp_path / "in.jsonl", [completion("a")])
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    for arguments, said in (
        (("serve", "--replicas", "2"), "go with --ray"),
        (("serve", "--ray", "--replicas", "2", "--max-replicas", "3"), "--replicas"),
        (("serve", "--ray", "--min-replicas", "3", "--max-replicas", "2"), "above"),
        (("serve", "no-such-model.gguf", "--ray"), "no such file"),
        (("serve", broken, "--ray", "--port", "0"), "broken.gguf"),
        (("batch", source, tmp_path / "out", "--model", broken, "--ray"), "broken.gguf"),
        (("batch", source, tmp_path / "out", "--replicas", "2"), "go with --ray"),
    ):
        assert run_command([*map(str, arguments)]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
    for arguments in (
        ("serve", "--port", "0", "--log", "off", smollm2_path),
        ("batch", source, tmp_path / "out.jsonl", "--model", smollm2_path),
    ):
        # That the context is too long is found where the model is loaded.
        place = ("--ray", "--ray-address", cluster.address, "--context", 10**6)
        command = [sys.executable, "-m", "lutmac.cli.main", *arguments, *place]
        result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 2
        last = result.stderr.splitlines()[-1]  # Ray's C++ may have had something to say before
        assert last.startswith("lutmac: error: ")
        assert "context is 1000000" in last
        assert "Traceback" not in result.stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    for command in (("serve",), ("batch", source, tmp_path / "out")):
        assert run_command([*map(str, command), "--ray"]) == 2
        assert "pip install 'lutmac[ray]'" in capsys.readouterr().err
    assert run(source, tmp_path / "out", "--ray", "--ray-address", "127.0.0.1:1")[0] == 2


def _wait_for_lines(process: subprocess.Popen[str], path: Path, count: int) -> None:
    end = time.monotonic() + 180
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)
