"""Every architecture from GGUF, and its low-bit matrices in default precision.

The same random weights as in test_architectures.py, in GGUF's names and layout, give the logits of transformers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac.errors import CheckpointError

ROOT = Path(__file__).parent / "architectures"
sys.path.insert(0, str(ROOT))

from cases import CASES, KEPT, TOKENS  # noqa: E402
from gguf_models import write_gguf  # noqa: E402
from random_weights import random_weights  # noqa: E402

SHAPES = json.loads((ROOT / "shapes.json").read_text())
# Those of which GGUF can say all that matters.
NAMES = (
    "llama", "llama-biases-tied", "llama-one-kv-head", "llama-linear", "llama-yarn", "llama-3.1", "smollm3", "qwen2",
    "qwen2-yarn", "qwen3", "gemma2", "gemma3", "phi3", "phi3-128k", "phi4-mini", "bitnet-1bitllm",
    "olmo2", "olmo3", "granite", "mixtral", "qwen3-moe", "llama-heads-of-80", "qwen3-heads-of-40",
    "gemma2-caps-not-said",
)  # fmt: skip


def relative_errors(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Of each row, against a row of usual length."""
    return np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1).mean()


def write(path: Path, name: str, kind: str) -> Path:
    case = CASES[name]
    config = {**case.config, **case.oracle}
    weights = random_weights(case.config, SHAPES[name])
    write_gguf(path, {key: value for key, value in config.items() if value is not ...}, weights, kind)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Keys and values have 11 bits. BitNet's rounding of activations tips some to the next step: not in most rows."""
    path = write(tmp_path / f"{name}.gguf", name, "F32")
    found = lutmac.load(path, precision="exact", threads=1).logits(TOKENS)[KEPT]
    errors = relative_errors(found, np.load(ROOT / "references.npz")[name])
    assert (np.median(errors) if CASES[name].half_cache else errors.max()) < 2e-3


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
@pytest.mark.parametrize("name", NAMES)
def test_default_precision_is_close_to_exact(name: str, kind: str, tmp_path: Path) -> None:
    """Tables have 8 bits of the largest sum of 4 among 32; in a mixture, close logits choose other experts."""
    path = write(tmp_path / f"{name}.gguf", name, kind)
    exact, default = (
        lutmac.load(path, precision=precision, threads=1).logits(TOKENS)[KEPT] for precision in ("exact", "default")
    )
    assert np.median(relative_errors(default, exact)) < 6e-2


@pytest.mark.parametrize("name", ["bitnet-1bitllm", "gemma3", "granite", "mixtral", "olmo2", "phi3", "qwen3-moe"])
def test_threads_and_chunks_do_not_change_a_bit(name: str, tmp_path: Path) -> None:
    """Chunks of 16, and of 1 in the end, where a product's threads each prepare its input."""
    path, tokens = write(tmp_path / f"{name}.gguf", name, "Q4_0"), TOKENS[:81]
    for precision in ("default", "exact"):
        expected = lutmac.load(path, precision=precision, threads=1).logits(tokens)
        in_chunks = lutmac.load(path, precision=precision, threads=2, max_batch_tokens=16)
        np.testing.assert_array_equal(in_chunks.logits(tokens), expected)


def test_experts_of_one_layer_are_held_once(tmp_path: Path) -> None:
    """And a token reads those that it goes to."""
    info = lutmac.load(write(tmp_path / "mixtral.gguf", "mixtral", "Q8_0"), threads=1).info()
    experts = 3 * 3 * 4 * 64 * 96  # matrices, layers, experts, and their size
    assert experts < info.weight_bytes < 3 * experts
    assert info.bytes_per_token < info.weight_bytes - 0.4 * experts


def test_a_stack_with_too_few_experts_is_an_error(tmp_path: Path) -> None:
    case = CASES["mixtral"]
    weights = random_weights(case.config, SHAPES["mixtral"])
    fewer = {name: values for name, values in weights.items() if ".experts.3." not in name}
    write_gguf(tmp_path / "mixtral.gguf", {k: v for k, v in case.config.items() if v is not ...}, fewer, "F32")
    with pytest.raises(CheckpointError, match=r"blk\.0\.ffn_gate_exps\.weight\[3\] is missing"):
        lutmac.load(tmp_path / "mixtral.gguf")
