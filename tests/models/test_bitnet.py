"""BitNet's default precision is held to its exact mode, which rounds activations to int8, by perplexity on real text.

trained_bitnet is a small BitNet that make_trained_bitnet.py trained, so that it has something to lose; the text is
pages of Python's help that it was not trained on. Default precision does not round activations to int8: its tables are
nearer to the floats than that.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import lutmac
from lutmac.checkpoints.huggingface import HuggingFaceCheckpoint, open_huggingface
from lutmac.lowbit.matrix import LowBitMatrix
from lutmac.lowbit.reference import dequantize

HERE = Path(__file__).parent
PACKED = HERE / "trained_bitnet"
OLDER_NAMES = {"attn_sub_norm": "inner_attn_ln", "ffn_sub_norm": "ffn_layernorm"}
sys.path.insert(0, str(HERE))

from bitnet_text import scored_text  # noqa: E402


def renamed(name: str) -> str:
    for ours, older in OLDER_NAMES.items():
        name = name.replace(ours, older)
    return name


def floats(checkpoint: HuggingFaceCheckpoint, name: str) -> np.ndarray:
    """Of a ternary matrix, those whose mean magnitude, which is what they are rounded by, is its scale."""
    if len(checkpoint.tensors[name].shape) == 1:
        return checkpoint.vector(name)
    matrix = checkpoint.matrix(name)
    found = dequantize(matrix)
    return found / np.float32(np.mean(found != 0)) if isinstance(matrix, LowBitMatrix) else found


def write_older(directory: Path) -> Path:
    """The same model in 1bitLLM's form: floats that the forward pass rounds, other names, other keys."""
    directory.mkdir()
    config = json.loads((PACKED / "config.json").read_text())
    del config["quantization_config"]
    (directory / "config.json").write_text(json.dumps({**config, "weight_bits": 1, "input_bits": 8}))
    with open_huggingface(PACKED) as checkpoint:
        weights = {renamed(name): floats(checkpoint, name) for name in checkpoint.tensors}
    save_file(weights, directory / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(PACKED / name, directory / name)
    return directory


@pytest.fixture(scope="module", params=["2b-4t", "1bitllm"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PACKED if request.param == "2b-4t" else write_older(tmp_path_factory.mktemp("bitnet") / "older")


def log_shares(model: lutmac.Model, tokens: list[int]) -> np.ndarray:
    logits = model.logits(tokens).astype(np.float64)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def test_default_precision_is_held_to_exact_by_perplexity(trained: Path) -> None:
    """Both predict the text, which guesses would not: at 320. A divergence of 2.2e-4 spreads losses by 0.021.

    Of 2,016 tokens that leaves 0.05% in perplexity, of which four are allowed.
    """
    exact, default = (lutmac.load(trained, precision=precision, threads=1) for precision in ("exact", "default"))
    before, after = (model.perplexity(scored_text(), ctx=128, windows=32).perplexity for model in (exact, default))
    assert before < 12
    assert after == pytest.approx(before, rel=2e-3)
    tokens = exact.tokenizer.encode(scored_text())[:500]
    p, q = (log_shares(model, tokens) for model in (exact, default))
    assert (np.exp(p) * (p - q)).sum(axis=1).mean() < 5e-4


def test_both_forms_are_the_same_model(tmp_path: Path) -> None:
    """But for the last bits of the scales, which move few activations to the next step of int8."""
    older = write_older(tmp_path / "older")
    packed, older_form = (lutmac.load(path, precision="exact", threads=1) for path in (PACKED, older))
    tokens = packed.tokenizer.encode(scored_text())[:128]
    expected, found = (model.logits(tokens) for model in (packed, older_form))
    assert np.median(np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)) < 1e-4
