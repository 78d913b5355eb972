"""Every architecture against transformers, logit by logit, in every configuration that checkpoints come in.

architectures/make_references.py wrote the references. In exact precision logits differ from transformers' float32 by
keys and values kept in half precision: 11 bits each, averaged over some layers. Where activations are rounded to 8
bits, the last bit of a sum tips some of them from one step to the next: some rows of logits differ by that, but not
most. In default precision tables hold 8 bits of the largest sum of 4 among 32 activations, which rows of 64 weights
average over little.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import lutmac

ROOT = Path(__file__).parent / "architectures"
sys.path.insert(0, str(ROOT))

from cases import CASES, KEPT, TOKENS  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402

SHAPES = json.loads((ROOT / "shapes.json").read_text())


@pytest.fixture(scope="module")
def references() -> dict[str, np.ndarray]:
    return dict(np.load(ROOT / "references.npz"))


@pytest.fixture(scope="module", params=CASES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = request.param
    directory = tmp_path_factory.mktemp("architectures") / name
    config = CASES[name].config
    write_checkpoint(directory, config, random_weights(config, SHAPES[name]))
    return directory


def relative_errors(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Of each row, against a row of usual length."""
    return np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1).mean()


@pytest.mark.parametrize("precision", ["exact", "default"])
def test_logits_are_those_of_transformers(checkpoint: Path, references: dict[str, np.ndarray], precision: str) -> None:
    case = CASES[checkpoint.name]
    model = lutmac.load(checkpoint, precision=precision, threads=1, context=case.context)
    found = model.logits(TOKENS[: case.tokens])[KEPT]
    errors = relative_errors(found, references[checkpoint.name])
    if case.half_cache:  # the only ones that are low-bit
        assert np.median(errors) < (2e-3 if precision == "exact" else 6e-2)
    else:
        assert errors.max() < 2e-3


def test_a_beginning_from_the_cache_changes_no_bit(checkpoint: Path) -> None:
    """Also where some layers see a window only."""
    case = CASES[checkpoint.name]
    options = {"max_tokens": 8, "temperature": 0, "logprobs": 3, "ignore_eos": True}
    tokens = TOKENS[: min(case.tokens, case.context or 200) - 16]
    model, fresh = (lutmac.load(checkpoint, threads=1, context=case.context) for _ in range(2))
    model.generate([*tokens[:-5], 1], **options)
    found, expected = model.generate(tokens, **options), fresh.generate(tokens, **options)
    assert found.cached_tokens == len(tokens) - 5
    assert (found.token_ids, found.logprobs) == (expected.token_ids, expected.logprobs)
