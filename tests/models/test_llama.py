"""The llama family against an exact float64 reference, and what its configuration accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
import tiny_llama
from lutmac.checkpoints.gguf_types import SUPPORTED_TYPES
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.models import find_architecture
from lutmac.models.llama import ARCHITECTURE, read_gguf_config
from tiny_llama import TinyLlama, make_tiny_llama

TOKENS = [258, 72, 101, 108, 108, 111, 44, 32, 119, 111, 114, 108, 100, 259] * 6  # 84: more than a page
CONFIG = {
    "llama.context_length": 2048,
    "llama.embedding_length": 576,
    "llama.block_count": 30,
    "llama.feed_forward_length": 1536,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.vocab_size": 49152,
}


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


WHOLE = ("I8", "I16", "I32", "I64")


@pytest.fixture(scope="module", params=[kind for kind in SUPPORTED_TYPES if kind not in WHOLE])
def any_tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyLlama:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf", request.param)


def test_exact_precision_is_exact(any_tiny: TinyLlama) -> None:
    """Float32 sums and a half-precision cache: the latter's 11 bits are the larger error."""
    logits = lutmac.load(any_tiny.path, precision="exact").logits(TOKENS)
    assert relative_error(logits, any_tiny.logits(TOKENS)) < 2e-3


def test_default_precision_is_close(any_tiny: TinyLlama) -> None:
    """Tables hold 8 bits of the largest sum of 4 among 32 activations.

    The planes of a code err by themselves, weighted as they are: uniform codes of 2 bits have the variance of their
    planes, 5/4, codes of three values only 2/3, so that the same errors weigh sqrt(15/8) as much.
    """
    tolerance = 3e-2 * (15 / 8) ** 0.5 if any_tiny.kind in ("TQ1_0", "TQ2_0", "Q2_0", "PQ2_0", "PTQ1_0") else 3e-2
    logits = lutmac.load(any_tiny.path).logits(TOKENS)
    assert relative_error(logits, any_tiny.logits(TOKENS)) < tolerance


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_ternary_weights_with_a_scale_per_row_take_26_bytes_for_128(tmp_path: Path, kind: str) -> None:
    """Within the tolerance of planes, though tables hold sums of 5 activations."""
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", kind, row_scales=True)
    exact, default = lutmac.load(tiny.path, precision="exact"), lutmac.load(tiny.path)
    assert relative_error(exact.logits(TOKENS), tiny.logits(TOKENS)) < 2e-3
    assert relative_error(default.logits(TOKENS), tiny.logits(TOKENS)) < 3e-2 * (15 / 8) ** 0.5
    matrix = next(tensor for tensor in default.info().tensors if tensor.name == "blk.0.ffn_up.weight")
    assert matrix.packed_bytes == matrix.elements * 26 // 128 + 2 * matrix.shape[0]


@pytest.mark.parametrize(("kind", "group", "bits"), [("TQ1_0", 256, 1.6875), ("PTQ1_0", 128, 1.75)])
def test_ternary_weights_with_a_scale_per_group(tmp_path: Path, kind: str, group: int, bits: float) -> None:
    info = lutmac.load(make_tiny_llama(tmp_path / "tiny.gguf", kind).path).info()
    matrix = next(tensor for tensor in info.tensors if tensor.name == "blk.0.ffn_up.weight")
    assert 8 * matrix.packed_bytes / matrix.elements == bits == 8 * 26 / 128 + 16 / group


@pytest.mark.parametrize("kind", WHOLE)
def test_integers_are_weights_too(tmp_path: Path, kind: str) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "Q8_0", kinds={"blk.0.ffn_up.weight": kind})
    logits = lutmac.load(tiny.path, precision="exact").logits(TOKENS)
    assert relative_error(logits, tiny.logits(TOKENS)) < 2e-3


def test_biases_and_a_head_of_its_own(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "Q8_0", biases=True, tied=False)
    logits = lutmac.load(tiny.path, precision="exact").logits(TOKENS)
    assert relative_error(logits, tiny.logits(TOKENS)) < 2e-3


def test_a_tied_matrix_is_held_once(tmp_path: Path) -> None:
    def weight_bytes(tied: bool) -> int:
        tiny = make_tiny_llama(tmp_path / f"{tied}.gguf", "Q8_0", tied=tied)
        return lutmac.load(tiny.path).info().weight_bytes

    embedding = tiny_llama.VOCAB * tiny_llama.HIDDEN
    assert embedding <= weight_bytes(False) - weight_bytes(True) < 1.5 * embedding  # rows come in tiles


def test_huggingface_names_of_gguf_tensors() -> None:
    assert ARCHITECTURE.gguf_tensor_name("model.layers.11.self_attn.q_proj.weight") == "blk.11.attn_q.weight"
    assert ARCHITECTURE.gguf_tensor_name("model.layers.0.self_attn.k_proj.bias") == "blk.0.attn_k.bias"
    assert ARCHITECTURE.gguf_tensor_name("model.embed_tokens.weight") == "token_embd.weight"
    assert ARCHITECTURE.gguf_tensor_name("lm_head.weight") == "output.weight"


def test_config_from_metadata() -> None:
    config = read_gguf_config(CONFIG)
    assert (config.hidden_size, config.num_key_value_heads, config.head_dim) == (576, 3, 64)
    assert (config.rope.style, config.rope.rotary_dim, config.rope.theta) == ("interleaved", 64, 10000.0)


def test_repeated_head_counts_are_one_number() -> None:
    assert read_gguf_config({**CONFIG, "llama.attention.head_count_kv": [3] * 30}).num_key_value_heads == 3


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        ("block_count", None, CheckpointError, "llama.block_count is missing"),
        ("block_count", "thirty", CheckpointError, "expected an integer"),
        ("block_count", 0, CheckpointError, "expected 1 to"),
        ("embedding_length", 577, CheckpointError, "not a multiple of 9"),
        ("attention.head_count_kv", 4, CheckpointError, "not a multiple of 4"),
        ("attention.head_count_kv", [3, 1], UnsupportedModelError, "differs between layers"),
        ("attention.layer_norm_rms_epsilon", float("nan"), CheckpointError, "expected a finite number"),
        ("attention.key_length", 41, UnsupportedModelError, "head size 41"),
        ("attention.value_length", 128, UnsupportedModelError, "value_length"),
        ("feed_forward_length", 1000, UnsupportedModelError, "intermediate_size 1000"),
        ("rope.dimension_count", 128, CheckpointError, "rope rotates 128"),
        ("rope.scaling.type", "mrope", UnsupportedModelError, "'mrope'"),
        ("expert_count", 8, CheckpointError, "llama.expert_used_count is missing"),
    ],
)
def test_odd_metadata_is_one_clear_error(key: str, value: Any, error: type[Exception], message: str) -> None:
    metadata: dict[str, Any] = {**CONFIG, "llama.rope.scaling.factor": 2.0, f"llama.{key}": value}
    if value is None:
        del metadata[f"llama.{key}"]
    with pytest.raises(error, match=message):
        read_gguf_config(metadata)


def test_an_unknown_architecture_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'mamba' is not supported; supported: .*llama"):
        find_architecture("mamba")


def test_a_tensor_of_another_shape_is_an_error(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "F16", feed_forward_length=1024)
    with pytest.raises(
        CheckpointError, match=r"blk\.0\.ffn_gate\.weight has shape \(512, 256\), expected \(1024, 256\)"
    ):
        lutmac.load(tiny.path)


def test_a_missing_tensor_is_an_error(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "F16", block_count=3)
    with pytest.raises(CheckpointError, match=r"blk\.2\.attn_q\.weight is missing"):
        lutmac.load(tiny.path)
