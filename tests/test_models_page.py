"""docs/models.md is what benchmarks/models_page.py makes of the registry."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lutmac.engine.measuring.synthetic import SHAPES
from lutmac.errors import UnsupportedModelError
from lutmac.models import REGISTRY, find_architecture

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import models_page

HOW = "run `python benchmarks/models_page.py`"


def test_the_page_is_up_to_date() -> None:
    figures = json.loads(models_page.FIGURES.read_text()) if models_page.FIGURES.is_file() else {}
    text = models_page.PAGE.read_text(encoding="utf-8")
    assert models_page.page(text, figures) == text, HOW


def test_every_name_of_the_registry_is_in_its_table() -> None:
    shown = "".join(" ".join(row) for row in models_page.families())
    assert [name for name in REGISTRY if f"`{name}`" not in shown] == []
    assert set(REGISTRY) >= models_page.ONLY_GGUF
    in_files = models_page.NEWER_GGUF | set(models_page.gguf.MODEL_ARCH_NAMES.values())
    assert {name for name in REGISTRY if "-" in name and name in in_files} <= models_page.ONLY_GGUF


def test_measured_figures_are_of_all_shapes() -> None:
    shown = models_page.sections({"cpu": "a CPU", "commit": "abc", "threads": ["1", "2"], "shapes": {
        "llama-2-7b": {"layers": 12, "prefill": {"1": 10.0, "2": 20.0}, "decode": {"1": 3.125, "2": 6.0}},
    }})["shapes"]  # fmt: skip
    assert "a CPU, commit abc" in shown
    assert "| 10 / 20 | 3.12 / 6 (12 of 32 layers) |" in shown
    assert all(f"`{shape}`" in shown for shape in SHAPES)


def test_an_unknown_architecture_is_named_with_the_list() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        find_architecture("perceptron")
    assert "'perceptron'" in str(error.value)
    assert all(name in str(error.value) for name in REGISTRY)
