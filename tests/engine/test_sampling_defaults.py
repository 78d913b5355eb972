"""What a checkpoint recommends for sampling holds where a caller says nothing: in Python, HTTP and commands."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest

import lutmac
from lutmac import QuantizationSettings
from serving import start
from tiny_llama import make_tiny_llama

HUGGING_FACE = Path(__file__).parents[1] / "checkpoints" / "huggingface" / "bf16"
PROMPT = "Once upon a time"
GREEDY = {"general__sampling__temp": 0.0, "general__sampling__top_k": 7}


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file that wants its tokens drawn greedily, which is seen in the text."""
    return make_tiny_llama(tmp_path_factory.mktemp("greedy") / "greedy.gguf", "Q8_0", **GREEDY).path


def directory(path: Path, **generation_config: Any) -> Path:
    shutil.copytree(HUGGING_FACE, path)
    (path / "generation_config.json").write_text(json.dumps(generation_config))
    return path


def test_python_has_them_in_every_call(greedy: Path) -> None:
    with lutmac.load(greedy, threads=1) as model:
        expected = model.generate(PROMPT, temperature=0, max_tokens=16, ignore_eos=True).token_ids
        assert model.info().sampling == {"temperature": 0.0, "top_k": 7}
        assert model.generate(PROMPT, max_tokens=16, ignore_eos=True).token_ids == expected
        assert asyncio.run(model.agenerate(PROMPT, max_tokens=16, ignore_eos=True)).token_ids == expected
        warm = model.generate(PROMPT, temperature=2, top_k=0, top_p=1, min_p=0, seed=1, max_tokens=16, ignore_eos=True)
        assert warm.token_ids != expected


def test_http_has_them(greedy: Path) -> None:
    served = start(greedy)
    try:
        with served.client() as http:
            body = {"prompt": PROMPT, "max_tokens": 12, "ignore_eos": True}

            def text(**options: float) -> str:
                return str(http.post("/v1/completions", json=body | options).json()["choices"][0]["text"])

            assert text() == text(temperature=0) != text(temperature=2, top_k=0, top_p=1, min_p=0, seed=1)
            settings = http.get("/props").json()["default_generation_settings"]["params"]
            assert (settings["temperature"], settings["top_k"], settings["top_p"]) == (0, 7, 0.95)
            shown = http.post("/api/show", json={"model": "greedy"}).json()["parameters"]
            assert [line.split() for line in shown.splitlines()] == [["temperature", "0"], ["top_k", "7"]]
    finally:
        served.process.kill()


def test_the_command_line_has_them(greedy: Path) -> None:
    def run(*arguments: object) -> str:
        command = [sys.executable, "-m", "lutmac.cli.main", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    asked = ("run", greedy, PROMPT, "--raw", "--max-tokens", 12)
    assert run(*asked) == run(*asked, "--temperature", 0)
    assert "temperature 0, top_k 7" in run("info", greedy)
    assert json.loads(run("info", greedy, "--json"))["loaded"]["sampling"] == {"temperature": 0.0, "top_k": 7}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05},
            {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05},
        ),
        ({"do_sample": False}, {"temperature": 0.0}),  # transformers is greedy then
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": None, "top_k": -1, "max_length": 4096}, {"top_k": 0}),
        ({"temperature": "hot", "top_p": True, "min_p": [0.1]}, {}),
        ({}, {}),
    ],
)
def test_directories_say_it_in_generation_config(
    tmp_path: Path, config: dict[str, Any], expected: dict[str, float]
) -> None:
    with lutmac.load(directory(tmp_path / "model", **config), threads=1) as model:
        assert model.info().sampling == expected


def test_what_no_request_could_ask_for_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lutmac"):
        model = lutmac.load(directory(tmp_path / "model", top_p=7, temperature=0.5), threads=1)
    assert model.info().sampling == {"temperature": 0.5}
    assert "top_p is 7" in caplog.text


def test_the_penalty_of_a_window_of_nothing_is_none(tmp_path: Path) -> None:
    keys = {"general__sampling__penalty_repeat": 1.1, "general__sampling__min_p": 0.6}
    for window, expected in ((64, {"min_p": 0.6, "repetition_penalty": 1.1}), (0, {"min_p": 0.6})):
        made = make_tiny_llama(tmp_path / f"{window}.gguf", "Q8_0", **keys, general__sampling__penalty_last_n=window)
        with lutmac.load(made.path, threads=1) as model:
            assert model.info().sampling == expected


def test_they_are_kept_by_convert_and_written_to_gguf(greedy: Path, tmp_path: Path) -> None:
    source = directory(tmp_path / "source", temperature=0.6, top_k=20, typical_p=0.9)
    settings = QuantizationSettings(bits=8, group_size=32, symmetric=True)
    made = lutmac.quantize_model(source, tmp_path / "made.gguf", settings, output="gguf", threads=1).path
    keys = {key: field.contents() for key, field in gguf.GGUFReader(made).fields.items() if ".sampling." in key}
    assert keys == {"general.sampling.temp": pytest.approx(0.6), "general.sampling.top_k": 20}
    for origin, expected in (
        (greedy, {"temperature": 0.0, "top_k": 7}),
        (source, {"temperature": 0.6, "top_k": 20, "typical_p": 0.9}),
    ):
        converted = lutmac.convert(origin, tmp_path / f"{origin.stem}-converted").path
        with lutmac.load(converted, threads=1) as model:
            assert model.info().sampling == expected
    with lutmac.load(made, threads=1) as model:
        assert model.info().sampling == {"temperature": 0.6, "top_k": 20}
