"""Every encoder from GGUF: the same random weights as in test_encoders.py, in GGUF's names, and what is low-bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

import lutmac
from lutmac.engine.embedding.embedding import TextBatch, embed

ROOT = Path(__file__).parent / "architectures"
sys.path.insert(0, str(ROOT))

from encoder_cases import CASES, KEPT, TOKENS  # noqa: E402
from gguf_encoders import write_encoder  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402

SHAPES = json.loads((ROOT / "encoder_shapes.json").read_text())
# GGUF files have no pooler, which the head of a BERT reads; and their BERTs have an activation that is near to one.
NAMES = [name for name in CASES if name not in ("bert-classifier", "bert-thin")]


def write(path: Path, name: str, kind: str) -> Path:
    config = CASES[name].config
    return write_encoder(path / f"{name}.gguf", config, random_weights(config, SHAPES[name]), kind)


def outcome(model: lutmac.Model, name: str) -> np.ndarray:
    if CASES[name].head:
        return embed(model.engine, TextBatch([TOKENS], classified=True))[0]
    found = np.empty((len(TOKENS), model.engine.hidden_size), np.float32)
    sequence = model.engine.new_text(TOKENS, len(TOKENS), private=True)
    sequence.sink, sequence.wants_hidden = (lambda _, rows: np.copyto(found, rows)), True
    model.engine.submit(sequence)
    model.engine.drive(sequence, len(TOKENS))
    return found[KEPT]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nomic-moe"])
def test_states_and_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    model = lutmac.load(write(tmp_path, name, "F32"), precision="exact", threads=1)
    expected = np.load(ROOT / "encoder_references.npz")[name]
    assert np.abs(outcome(model, name) - expected).max() < 1e-4


def test_experts_of_nomic_are_those_of_its_directory_without_their_bias(tmp_path: Path) -> None:
    """Which GGUF files lack. llama.cpp's vector of such a file differs by 6e-5, its GELU being another."""
    config = CASES["nomic-moe"].config
    weights = random_weights(config, SHAPES["nomic-moe"])
    without = {name: values for name, values in weights.items() if not name.endswith("experts.bias")}
    write_checkpoint(tmp_path / "directory", config, without)
    found, expected = (
        outcome(lutmac.load(path, precision="exact", threads=1), "nomic-moe")
        for path in (write(tmp_path, "nomic-moe", "F32"), tmp_path / "directory")
    )
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
@pytest.mark.parametrize("name", [name for name in NAMES if not CASES[name].head])
def test_default_precision_is_close_to_exact(name: str, kind: str, tmp_path: Path) -> None:
    """Tables have 8 bits of the largest sum of 4 among 32: rows of 64 weights average over little."""
    path = write(tmp_path, name, kind)
    exact, default = (
        outcome(lutmac.load(path, precision=precision, threads=1), name) for precision in ("exact", "default")
    )
    errors = np.linalg.norm(default - exact, axis=-1) / np.linalg.norm(exact, axis=-1)
    assert np.median(errors) < (6e-2 if kind == "Q4_0" else 1e-3)


@pytest.mark.parametrize("name", ["bert", "modernbert", "nomic", "embedding-gemma"])
def test_low_bit_vectors_do_not_depend_on_neighbours(name: str, tmp_path: Path) -> None:
    model = lutmac.load(write(tmp_path, name, "Q4_0"), threads=2)
    texts = [TOKENS[:length] for length in (3, 200, 1, 40)]
    each = np.concatenate([model.embed([text]) for text in texts])
    assert np.array_equal(model.embed(texts), each)


def test_dense_layers_of_embedding_gemma_are_tensors_of_its_file(tmp_path: Path) -> None:
    config, draw = CASES["embedding-gemma"].config, np.random.default_rng(0)
    weights = random_weights(config, SHAPES["embedding-gemma"])
    up, down = (draw.standard_normal(shape).astype(np.float32) for shape in ((96, 64), (64, 96)))
    plain = lutmac.load(write_encoder(tmp_path / "plain.gguf", config, weights, "F32"), threads=1)
    more = {"dense_2.weight": up, "dense_3.weight": down}
    dense = lutmac.load(write_encoder(tmp_path / "dense.gguf", config, weights, "F32", more), threads=1)
    pooled = plain.embed([TOKENS], normalize=False).astype(np.float64)
    np.testing.assert_allclose(dense.embed([TOKENS], normalize=False), pooled @ up.T @ down.T, rtol=1e-5, atol=1e-5)


def test_dense_layers_of_embedding_gemma_are_kept_by_all_that_write(tmp_path: Path) -> None:
    """In the native format they lie beside the metadata, in GGUF where they were."""
    config, draw = CASES["embedding-gemma"].config, np.random.default_rng(0)
    more = {
        name: draw.standard_normal(shape).astype(np.float32)
        for name, shape in (("dense_2.weight", (96, 64)), ("dense_3.weight", (64, 96)))
    }
    weights = random_weights(config, SHAPES["embedding-gemma"])
    source = write_encoder(tmp_path / "source.gguf", config, weights, "F32", more)
    settings = lutmac.QuantizationSettings(bits=8, group_size=32, symmetric=True)
    made = [
        lutmac.convert(source, tmp_path / "converted", threads=1),
        lutmac.quantize_model(source, tmp_path / "native", settings, threads=1),
        lutmac.quantize_model(source, tmp_path / "made.gguf", settings, output="gguf", threads=1),
    ]
    again = lutmac.convert(made[2].path, tmp_path / "again", threads=1)
    expected, converted, *quantised = (
        lutmac.load(path, precision="exact", threads=1).embed([TOKENS, TOKENS[:5]])
        for path in (source, *(model.path for model in (*made, again)))
    )
    np.testing.assert_array_equal(converted, expected)
    for found in quantised:
        assert np.sum(found * expected, axis=1).min() > 0.999
        np.testing.assert_allclose(found, quantised[0], atol=1e-6)
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(made[2].path).tensors}
    assert all(np.array_equal(tensors[name], values) for name, values in more.items())
