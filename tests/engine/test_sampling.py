"""Sampling parameters: their ranges, and that a seed decides the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.engine.sampling.sampler import SamplingParams
from lutmac.errors import InvalidRequestError

PROMPT = "Once upon a time"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("presence_penalty", float("inf")),
        ("frequency_penalty", None),
        ("seed", -1),
        ("seed", True),
        ("logit_bias", {99999: 1.0}),
        ("logit_bias", {1: float("inf")}),
        ("logit_bias", [1]),
        ("max_tokens", -1),
        ("max_tokens", 2.5),
        ("stop", ""),
        ("stop", ["a", ""]),
        ("stop", 3),
        ("temprature", 1.0),
    ],
)
def test_a_wrong_parameter_is_named(tiny_model: lutmac.Model, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        tiny_model.stream(PROMPT, **{name: value})


def test_every_option_of_the_table_is_taken_at_both_ends_of_its_range(tiny_model: lutmac.Model) -> None:
    """The native sampler knows each by its name, and the range is what it says."""
    for name, row in SAMPLING_OPTIONS.items():
        for value in (row.least, row.most):
            number = int(value) if row.integer else float(value)
            tiny_model.generate(PROMPT, max_tokens=1, **{name: number})
        for value in (row.least - 1, row.most + 1):
            with pytest.raises(InvalidRequestError, match=f"^{name} is "):
                tiny_model.stream(PROMPT, **{name: int(value) if row.integer else float(value)})


def test_same_seed_same_text(tiny_model: lutmac.Model) -> None:
    def text(seed: int | None) -> str:
        return tiny_model.generate(PROMPT, max_tokens=24, temperature=1.5, top_k=0, seed=seed, ignore_eos=True).text

    assert text(7) == text(7)
    assert len({text(seed) for seed in range(4)}) == 4
    assert text(None) != text(None)


def test_a_completion_tells_the_seed_that_repeats_it(tiny_model: lutmac.Model) -> None:
    first = tiny_model.generate(PROMPT, max_tokens=24)
    assert tiny_model.generate(PROMPT, max_tokens=24, seed=first.seed).token_ids == first.token_ids


def test_greedy_takes_the_largest_logit(tiny_model: lutmac.Model) -> None:
    ids = tiny_model.tokenizer.encode(PROMPT)
    for token in tiny_model.generate(PROMPT, temperature=0, max_tokens=8, ignore_eos=True).token_ids:
        assert token == tiny_model.logits(ids)[-1].argmax()
        ids.append(token)


def test_a_bias_can_force_and_forbid_a_token(tiny_model: lutmac.Model) -> None:
    forced = tiny_model.generate(PROMPT, max_tokens=5, logit_bias={65: 500.0})
    assert forced.text == "AAAAA"
    best = tiny_model.generate(PROMPT, max_tokens=1, temperature=0, ignore_eos=True).token_ids[0]
    other = tiny_model.generate(PROMPT, max_tokens=1, temperature=0, ignore_eos=True, logit_bias={best: -500.0})
    assert other.token_ids[0] != best


def golden_cases() -> list[tuple[list[float], dict[str, float], list[int]]]:
    cases, values = [], {}
    for case in json.loads(Path(__file__).with_name("sampling_goldens.json").read_text()):
        logits = values.setdefault(case["logits"], case.get("values"))
        cases.append((logits, case["options"], case["kept"]))
    return cases


@pytest.mark.parametrize(("logits", "options", "kept"), golden_cases())
def test_what_is_kept_is_what_llama_cpp_keeps(logits: list[float], options: dict[str, float], kept: list[int]) -> None:
    """make_sampling_goldens.py wrote what it keeps. At temperature 100 the least likely of 40 is drawn 1 time in 60."""
    off: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    sampler = SamplingParams(**{**off, **options}, temperature=100.0, seed=1).sampler(len(logits))
    values, nothing = np.array(logits, np.float32), np.empty(0, np.int32)
    assert sorted({sampler.sample(values, nothing, 0) for _ in range(2000)}) == kept
