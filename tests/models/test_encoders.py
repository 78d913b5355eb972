"""Every encoder against transformers, hidden state by hidden state, and the heads that classify texts.

architectures/make_encoder_references.py wrote the references. Nothing is kept in half precision, so that only the order
of sums differs in exact precision. In default precision some targets round to bf16 what a product multiplies, others
nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import lutmac
from lutmac import _native
from lutmac.engine.embedding.embedding import TextBatch, embed
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import open_model
from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights
from lutmac.engine.quantization.state import QuantizationState
from lutmac.graph.operations.hidden_states import HiddenStates
from lutmac.graph.operations.logits import Logits

ROOT = Path(__file__).parent / "architectures"
sys.path.insert(0, str(ROOT))

from encoder_cases import CASES, KEPT, SECOND, TOKENS  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402

SHAPES = json.loads((ROOT / "encoder_shapes.json").read_text())
BFLOAT16_BOUND = 0.05  # 0.034 of EmbeddingGemma's, in two layers, is the largest
HEADS = [name for name, case in CASES.items() if case.head]
PLAIN = [name for name in CASES if name not in HEADS]


@pytest.fixture(scope="module")
def references() -> dict[str, np.ndarray]:
    return dict(np.load(ROOT / "encoder_references.npz"))


def write(directory: Path, name: str) -> Path:
    config = CASES[name].config
    write_checkpoint(directory, config, random_weights(config, SHAPES[name]))
    return directory


@pytest.fixture(scope="module", params=CASES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("encoders") / request.param, request.param)


def hidden_states(model: lutmac.Model, tokens: Sequence[int]) -> np.ndarray:
    """[tokens, width]: by the pooling that keeps one row, of texts that are cut differently."""
    engine, found = model.engine, {}
    sequence = engine.new_text(tokens, len(tokens), private=True)
    sequence.sink, sequence.wants_hidden = (lambda position, rows: found.update({position: rows.copy()})), True
    engine.submit(sequence)
    engine.drive(sequence, len(tokens))
    assert list(found) == [0]  # all at once
    return found[0]


def outcome(model: lutmac.Model, name: str) -> np.ndarray:
    """What the reference has."""
    if name in PLAIN:
        return hidden_states(model, TOKENS)[KEPT]
    types = [[int(place >= SECOND) for place in range(len(TOKENS))]] if CASES[name].pair else None
    return embed(model.engine, TextBatch([TOKENS], types=types, classified=True))[0]


def allowed(model: lutmac.Model) -> float:
    """From the reference, in standard deviations of hidden states, which are normed; logits are of about their size."""
    return BFLOAT16_BOUND if " as bf16" in model.program() else 1e-4


@pytest.mark.parametrize("precision", ["exact", "default"])
def test_states_and_logits_are_those_of_transformers(
    checkpoint: Path, references: dict[str, np.ndarray], precision: str
) -> None:
    model = lutmac.load(checkpoint, precision=precision, threads=2)
    assert precision == "default" or allowed(model) == 1e-4
    assert np.abs(outcome(model, checkpoint.name) - references[checkpoint.name]).max() < allowed(model)


def test_neighbours_and_threads_change_no_bit(checkpoint: Path) -> None:
    """Texts of many lengths in one step, one longer than a step should be, and each alone."""
    texts = [TOKENS[:length] for length in (5, 1, 300, 16, 17, 64, 65, 33)] + [TOKENS[40:90]]
    alone, together = (
        lutmac.load(checkpoint, threads=threads, max_batch_tokens=tokens) for threads, tokens in ((1, 16), (2, 200))
    )
    found = together.embed(texts, pooling="mean", normalize=False)
    assert np.array_equal(
        found, np.concatenate([alone.embed([text], pooling="mean", normalize=False) for text in texts])
    )


def test_the_native_format_holds_the_same(checkpoint: Path, tmp_path: Path) -> None:
    native = lutmac.convert(checkpoint, tmp_path / "native", threads=1).path
    before, after = (outcome(lutmac.load(path, threads=1), checkpoint.name) for path in (checkpoint, native))
    assert np.array_equal(before, after)


def test_calibration_computes_what_the_model_does(
    checkpoint: Path, references: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """NumPy in float32, operation by operation."""
    name = checkpoint.name
    with open_model(checkpoint) as opened:
        graph, _ = list_weights(opened)
        forward = Forward(
            np.array([TOKENS], np.int32), CurrentWeights(opened, QuantizationState(tmp_path / "state", {}))
        )
        for op in graph.ops:
            forward.run(op)
        if name in PLAIN:
            found = forward.value(next(op for op in graph.ops if isinstance(op, HiddenStates)).x)[KEPT]
            assert np.abs(found - references[name]).max() < 1e-4
        elif not CASES[name].pair:  # texts of calibration are not pairs
            head = graph.ops[-1]
            assert isinstance(head, Logits)
            assert np.abs(head.logits(forward, forward.value(head.x))[0] - references[name]).max() < 1e-4


@pytest.mark.parametrize("name", HEADS)
def test_a_head_classifies_many_texts_in_their_order(name: str, tmp_path: Path) -> None:
    model = lutmac.load(write(tmp_path / name, name), threads=2)
    texts = [TOKENS[begin : begin + length] for begin, length in ((0, 9), (100, 200), (7, 60), (50, 1))]
    found = embed(model.engine, TextBatch(texts, classified=True))
    each = [embed(model.engine, TextBatch([text], classified=True))[0] for text in texts]
    assert np.array_equal(found, each)
    assert len(np.unique(found, axis=0)) == len(texts)
    assert found.shape == (4, model.engine.logits_size)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max", "weightedmean"])
def test_pooling_is_of_the_hidden_states(name: str, pooling: str, tmp_path: Path) -> None:
    model = lutmac.load(write(tmp_path / name, name), threads=1)
    states = hidden_states(model, TOKENS).astype(np.float64)
    weights = np.arange(1, len(states) + 1)
    expected = {
        "mean": states.mean(axis=0),
        "cls": states[0],
        "last": states[-1],
        "max": states.max(axis=0),
        "weightedmean": weights @ states / weights.sum(),
    }[pooling]
    found = model.embed([TOKENS], pooling=pooling, normalize=False)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_an_encoder_generates_nothing(tmp_path: Path) -> None:
    model = lutmac.load(write(tmp_path / "bert", "bert"), threads=1)
    for refused in (
        lambda: model.generate("a", max_tokens=1),
        lambda: model.logits([1, 2, 3]),
        lambda: model.perplexity("a text that is long enough for a window " * 20, ctx=64),
        lambda: list(model.stream([5, 6])),
        lambda: embed(model.engine, TextBatch([[1]], classified=True)),
    ):
        with pytest.raises(lutmac.InvalidRequestError, match=r"generates none|no head"):
            refused()


def test_a_text_beyond_the_positions_is_refused_or_cut(tmp_path: Path) -> None:
    model = lutmac.load(write(tmp_path / "roberta", "roberta"), threads=1)
    assert model.context == 318  # 320 rows, of which positions begin behind that of padding
    text = (TOKENS * 2)[:319]
    with pytest.raises(lutmac.ContextOverflowError):
        model.embed([text])
    assert np.array_equal(model.embed([text], truncate=True), model.embed([text[:318]]))


def test_norms_of_the_first_berts_have_older_names(tmp_path: Path) -> None:
    config, weights = CASES["bert"].config, random_weights(CASES["bert"].config, SHAPES["bert"])
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, values in weights.items():
        end = next((end for end in older if name.endswith(end)), "")
        renamed[f"bert.{name.removesuffix(end)}{older.get(end, '')}"] = values
    renamed["cls.predictions.transform.LayerNorm.gamma"] = np.ones(64, np.float32)
    write_checkpoint(tmp_path / "older", config, renamed)
    older_model, model = (
        lutmac.load(path, threads=1) for path in (tmp_path / "older", write(tmp_path / "bert", "bert"))
    )
    assert np.array_equal(older_model.embed([TOKENS]), model.embed([TOKENS]))
    assert [part.what for part in older_model.info().left_out] == ["heads that it was trained with"]


@pytest.mark.parametrize("isa", _native.available_targets())
@pytest.mark.parametrize("name", ["bert-thin", "bert-odd", "modernbert", "modernbert-classifier", "embedding-gemma"])
def test_every_target_computes_the_same(name: str, isa: str, references: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Heads of less than a vector, windows, tiles that are not full."""
    model = lutmac.load(write(tmp_path / name, name), threads=1, isa=isa)
    assert np.abs(outcome(model, name) - references[name]).max() < allowed(model)


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
@pytest.mark.parametrize("name", ["bert-classifier", "modernbert", "nomic", "embedding-gemma"])
def test_every_kind_is_quantised(name: str, method: Literal["rtn", "gptq", "awq"], tmp_path: Path) -> None:
    """To 8 bits, tables of positions and types too; what is put in the wrong place would be seen, at about 1."""
    checkpoint = write(tmp_path / name, name)
    settings = lutmac.QuantizationSettings(bits=8, group_size=32, method=method, sequences=2, length=48)
    text = "".join(map(chr, np.random.default_rng(0).integers(32, 127, 400)))
    made = lutmac.quantize_model(checkpoint, tmp_path / "made", settings, calibration=text, evaluation=[], threads=1)
    before, after = (outcome(lutmac.load(path, precision="exact", threads=1), name) for path in (checkpoint, made.path))
    assert np.abs(after - before).max() < 0.15
