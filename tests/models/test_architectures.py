"""Every architecture against transformers, logit by logit, in every configuration that checkpoints come in.

architectures/make_references.py wrote the references. In exact precision logits differ from transformers' float32 by
keys and values kept in half precision: 11 bits each, averaged over some layers. Where activations are rounded to 8
bits, the last bit of a sum tips some of them from one step to the next, and rows of logits differ by that: keeping keys
and values in half precision moves transformers' own logits by 2e-2, and the order of a target's sums does the same. In
default precision tables hold 8 bits of the largest sum of 4 among 32 activations, which rows of 64 weights average over
little.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import lutmac
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import open_model
from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights
from lutmac.engine.quantization.state import QuantizationState
from lutmac.graph.operations.logits import Logits

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
        assert np.median(errors) < (2e-2 if precision == "exact" else 6e-2)
    else:
        assert errors.max() < 2e-3


def test_only_sums_are_off_where_keys_and_values_are_kept_as_they_are(
    checkpoint: Path, references: dict[str, np.ndarray]
) -> None:
    """In standard deviations; where activations are rounded to 8 bits, sums tip some of them."""
    case = CASES[checkpoint.name]
    if case.half_cache:
        pytest.skip("the reference keeps keys and values in half precision")
    model = lutmac.load(checkpoint, precision="exact", kv_cache="f32", threads=1, context=case.context)
    expected = references[checkpoint.name]
    found = model.logits(TOKENS[: case.tokens])[KEPT]
    assert np.abs(found - expected).max() / expected.std() < 1e-4


@pytest.mark.parametrize("checkpoint", ["phi3-128k"], indirect=True)
def test_the_context_decides_which_factors_of_longrope_are_used(checkpoint: Path) -> None:
    """And not the length of a text. That either are transformers' is what the cases of phi3-128k say."""
    short, long = (lutmac.load(checkpoint, precision="exact", threads=1, context=context) for context in (48, 49))
    assert short.info().rope_scaling == "longrope: its short factors, good for 48 positions"
    assert long.info().rope_scaling == "longrope: its long factors, as more than 48 positions are in use"
    assert relative_errors(short.logits(TOKENS[:48]), long.logits(TOKENS[:48])).max() > 1e-2


def test_the_native_format_holds_the_same(checkpoint: Path, tmp_path: Path) -> None:
    """Also where a model reads some rows of a matrix, or other vectors for a long context."""
    case = CASES[checkpoint.name]
    native = lutmac.convert(checkpoint, tmp_path / "native", threads=1).path
    tokens = TOKENS[: case.tokens]
    before, after = (lutmac.load(path, threads=1, context=case.context).logits(tokens) for path in (checkpoint, native))
    assert np.array_equal(before, after)


def test_calibration_computes_what_the_model_does(checkpoint: Path, tmp_path: Path) -> None:
    """NumPy in float32 against exact mode: as far off as the engine's keys and values in half precision make it.

    Where activations are rounded to 8 bits calibration does without, see above for what that changes.
    """
    case = CASES[checkpoint.name]
    if case.context is not None:
        pytest.skip("calibration is for short contexts")
    tokens = TOKENS[: case.tokens]
    with open_model(checkpoint) as opened:
        graph, _ = list_weights(opened)
        weights = CurrentWeights(opened, QuantizationState(tmp_path / "state", {}))
        forward = Forward(np.array([tokens], np.int32), weights)
        for op in graph.ops:
            forward.run(op)
        head = graph.ops[-1]
        assert isinstance(head, Logits)
        found = head.logits(forward, forward.value(head.x))
    exact = lutmac.load(checkpoint, precision="exact", threads=1).logits(tokens)
    assert np.median(relative_errors(found, exact)) < (6e-2 if case.half_cache else 2e-3)


@pytest.mark.parametrize("method", ["gptq", "awq"])
@pytest.mark.parametrize(
    "checkpoint",
    [
        "llama-biases-tied",
        "gemma2",
        "gemma3-270m",
        "gemma4-e2b",
        "phi3",
        "bitnet-plain",
        "olmo2",
        "mixtral",
        "afmoe",
        "gpt-oss",
        "deepseek-v3",
        "qwen3.5-27b",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("granite-4-h", "nemotron-3", "falcon-h1")),
    ],
    indirect=True,
)
def test_every_kind_of_graph_is_quantised(checkpoint: Path, tmp_path: Path, method: Literal["gptq", "awq"]) -> None:
    """To 8 bits, which are next to nothing: what is put in the wrong place would be seen, at about 1.

    A group of 32 reaches 2.1 deviations, so that a weight is off by 0.0047 of one; 23 matrices make 0.023 of that, and
    GPTQ, fitted to 96 tokens, somewhat more on others.
    """
    settings = lutmac.QuantizationSettings(bits=8, group_size=32, method=method, sequences=2, length=48)
    text = "".join(map(chr, np.random.default_rng(0).integers(32, 127, 400)))
    made = lutmac.quantize_model(checkpoint, tmp_path / "made", settings, calibration=text, evaluation=[], threads=1)
    before, after = (lutmac.load(path, precision="exact", threads=1).logits(TOKENS) for path in (checkpoint, made.path))
    assert np.median(relative_errors(after, before)) < 5e-2


def test_a_beginning_from_the_cache_changes_no_bit(checkpoint: Path) -> None:
    """Also where some layers see a window only, and where convolutions and delta rules keep something."""
    case = CASES[checkpoint.name]
    options = {"max_tokens": 8, "temperature": 0, "logprobs": 3, "ignore_eos": True}
    tokens = TOKENS[: min(case.tokens, case.context or 200) - 16]
    model, fresh = (lutmac.load(checkpoint, threads=1, context=case.context) for _ in range(2))
    model.generate([*tokens[:-5], 1], **options)
    found, expected = model.generate(tokens, **options), fresh.generate(tokens, **options)
    assert found.cached_tokens == len(tokens) - 5
    assert (found.token_ids, found.logprobs) == (expected.token_ids, expected.logprobs)
