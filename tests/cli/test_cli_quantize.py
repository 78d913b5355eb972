"""`lutmac convert` and `lutmac quantize` as a person meets them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from terminal import COMMAND

from tiny_llama import TinyLlama


def test_a_converted_model_answers_and_is_described(lutmac, tiny: TinyLlama, tmp_path: Path) -> None:
    result = lutmac("convert", tiny.path, tmp_path / "out")
    assert result.returncode == 0
    assert "tensors packed for" in result.stdout
    described = json.loads(lutmac("info", tmp_path / "out", "--json").stdout)
    assert described["problem"] is None
    assert described["context_length"] == 512
    run = lutmac("run", tmp_path / "out", "hello", "-n", "3", "--temperature", "0")
    assert run.returncode == 0
    assert run.stdout == lutmac("run", tiny.path, "hello", "-n", "3", "--temperature", "0").stdout
    again = lutmac("convert", tiny.path, tmp_path / "out")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert len(again.stderr.splitlines()) == 1


def test_quantize_ends_with_a_table(lutmac, tiny: TinyLlama, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Every good boy deserves favour. " * 60)
    result = lutmac(
        "quantize", tiny.path, tmp_path / "out", "--bits", 3, "--group-size", 64, "--calibration", text,
        "--method", "gptq", "--sequences", 1, "--evaluation", text,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[-1] == "size"
    assert any(line.startswith("layer 1 ") for line in lines)
    assert "bits per weight" in lines[-2]
    assert lines[-1].startswith("perplexity ")
    found = json.loads(lutmac("quantize", tiny.path, tmp_path / "other", "--json").stdout)
    assert found["perplexity_after"] is None
    assert {tensor["bits"] for tensor in found["tensors"]} == {4, 8}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "gptq"], "needs a calibration text"),
        (["--method", "afpq", "--bits", "2"], "floats of 3 and 4 bits"),
        (["--group-size", "48"], "group size is 48"),
        (["--format", "gguf"], "GGUF can hold"),
        (["--calibration", "/no/such/file"], "cannot read the text"),
    ],
)
def test_mistakes_are_one_line(lutmac, tiny: TinyLlama, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = lutmac("quantize", tiny.path, tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_killed_run_goes_on(lutmac, tiny: TinyLlama, tmp_path: Path) -> None:
    arguments = ["quantize", str(tiny.path), str(tmp_path / "out"), "--bits", "3"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
    state = tmp_path / "out.quantizing"
    began = time.monotonic()
    while len(list(state.glob("*.npz"))) < 2 and process.poll() is None and time.monotonic() - began < 60:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (tmp_path / "out").exists():
        pytest.skip("the run was over before it could be killed")
    result = lutmac(*arguments)
    assert result.returncode == 0
    assert not state.exists()
    whole = lutmac("quantize", tiny.path, tmp_path / "whole", "--bits", 3)
    assert whole.returncode == 0
    file = "model.safetensors"
    assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
