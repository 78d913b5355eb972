"""Commands that print figures: pull, eval ppl and bench."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from lutmac.cli.benchmark import Report
from lutmac.cli.measure import Rates


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 40)
    return path


def test_pull_prints_where_the_model_lies(lutmac, smollm2_path, tmp_path, monkeypatch):
    monkeypatch.setenv("LUTMAC_CACHE", str(tmp_path))
    (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").symlink_to(smollm2_path)
    result = lutmac("pull", "smollm2")
    assert result.stdout.strip() == str(tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf")
    report = json.loads(lutmac("pull", "smollm2", "--json").stdout)
    assert report["bytes"] == smollm2_path.stat().st_size


def test_a_name_before_its_pull_says_how_to_get_it(lutmac, tmp_path, monkeypatch):
    monkeypatch.setenv("LUTMAC_CACHE", str(tmp_path))
    for arguments in (("info", "smollm2"), ("run", "qwen3:0.6b", "Hello")):
        result = lutmac(*arguments)
        assert result.returncode == 2
        assert f"lutmac pull {arguments[1]}" in result.stderr


def test_perplexity(lutmac, tiny, text):
    arguments = ["eval", "ppl", tiny.path, text, "--ctx", 64, "--windows", 2]
    result = lutmac(*arguments, "--json")
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert 1 < report["perplexity"] < 1000
    assert report["windows"] == 2
    assert report["tokens_scored"] == 2 * 31
    exact = json.loads(lutmac(*arguments, "--json", "--precision", "exact").stdout)
    assert exact["perplexity"] == pytest.approx(report["perplexity"], rel=0.02)
    assert f"{report['perplexity']:.4f}" in lutmac(*arguments).stdout


def test_perplexity_of_a_text_from_a_pipe(lutmac, tiny, text):
    arguments = ["--ctx", 64, "--windows", 2, "--json"]
    piped = lutmac("eval", "ppl", tiny.path, "-", *arguments, stdin=text.read_text())
    assert json.loads(piped.stdout) == json.loads(lutmac("eval", "ppl", tiny.path, text, *arguments).stdout)


def test_more_than_the_memory_gives_is_explained():
    rates = Rates("lutmac", "", "decode", 1, 64, 1, (100.0,), (0.01,))
    report = Report("x", "avx2", 10**8, {1: 5e9}, 0, [rates], None, 0, "f16")
    assert "of the 200.0 MB that the processor's cache holds" in str(report.above_memory(2 * 10**8))
    assert "busy" in str(report.above_memory(10**6))
    assert replace(report, memory_read={1: 2e10}).above_memory(10**6) is None


def test_a_text_shorter_than_a_window_is_a_mistake(lutmac, tiny, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Short.")
    result = lutmac("eval", "ppl", tiny.path, text, "--ctx", 64)
    assert result.returncode == 2
    assert "64" in result.stderr


BENCH = ["--threads", "1,2", "--prompt-tokens", 16, "--decode-tokens", 4, "--repeat", 2]


def test_bench_measures_every_thread_count_and_phase(lutmac, tiny):
    result = lutmac("bench", tiny.path, *BENCH, "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    report = json.loads(result.stdout)
    found = {(entry["engine"], entry["phase"], entry["threads"]) for entry in report["entries"]}
    assert found == {("lutmac", phase, threads) for phase in ("prefill", "decode") for threads in (1, 2)}
    for entry in report["entries"]:
        assert entry["tokens_per_second_min"] <= entry["tokens_per_second"] <= entry["tokens_per_second_max"]
        assert ("fraction_of_memory_read" in entry) == (entry["phase"] == "decode")
    assert report["peak_memory_bytes"] > report["bytes_per_token"] > 0
    assert all(rate > 1e8 for rate in report["memory_read_bytes_per_second"].values())


def test_bench_prints_tables(lutmac, tiny):
    result = lutmac("bench", tiny.path, *BENCH, "--context", 70)
    assert result.returncode == 0
    assert result.stderr == ""
    for words in ("prefill", "decode", "GB/s", "peak memory", " 70 "):
        assert words in result.stdout


def test_bench_against_an_engine_that_is_not_installed(smollm2_path):
    code = (
        "import sys; sys.modules['llama_cpp'] = None; from lutmac.cli.main import run_command;"
        "sys.exit(run_command(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "bench", str(smollm2_path), "--vs", "llama.cpp", "--repeat", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "pip install llama-cpp-python" in result.stderr


def test_bench_against_llama_cpp_prints_the_ratio(lutmac, smollm2_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed; it takes minutes to build")
    result = lutmac("bench", smollm2_path, *BENCH, "--vs", "llama.cpp", "--json")
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert len(report["entries"]) == 8
    assert len(report["ratios"]) == 4
    assert all(ratio["ratio"] > 0 for ratio in report["ratios"])
