"""Files whose matrices were rotated (Bonsai 2's) compute what the same model without rotation does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rotated_models import (
    File,
    all_signs,
    grouped,
    is_rotated,
    rotated_file,
    rotation_keys,
    transform,
    turned_back,
)

import lutmac
from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError
from lutmac.graph.ir import Value
from lutmac.graph.operations.hadamard import BlockHadamard, Hadamard
from random_blocks import random_blocks
from tiny_llama import FFN, HIDDEN, make_tiny_llama

CONVERTED = Path(__file__).parent / "converted"
TOKENS = [258, *b"Hello, rotated world", 259] * 4  # 88: more than a page


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest, in standard deviations."""
    return float(np.abs(found - expected).max() / expected.std())


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def exact_logits(path: Path, tokens: list[int] = TOKENS) -> np.ndarray:
    return lutmac.load(path, precision="exact", kv_cache="f32", threads=1).logits(tokens)


@pytest.mark.parametrize(("width", "block"), [(32, 32), (384, 128), (2048, 1024)])
@pytest.mark.parametrize("inverse", [False, True])
def test_the_reference_is_the_matrix_product(width: int, block: int, inverse: bool) -> None:
    signs = all_signs([width])[width].astype(np.float32)
    x, value = np.random.default_rng(1).normal(size=(3, width)), Value("x", width)
    found = Hadamard(BlockHadamard(block, signs), value, replace(value, name="y"), inverse).reference(None, x)  # type: ignore[arg-type]
    blocks = (x if inverse else x * signs).reshape(3, -1, block) @ transform(block)
    np.testing.assert_allclose(found, blocks.reshape(3, width) * (signs if inverse else 1), atol=1e-12)


@pytest.mark.parametrize("block", [32, 128, 256])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_a_rotated_llama_has_the_logits_of_the_plain_one(block: int, signed: bool, tied: bool, tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "plain.gguf", "F32", tied=tied)
    path = rotated_file(File.read(tiny.path), block, signed=signed).write(tmp_path / "rotated.gguf")
    expected = tiny.logits(TOKENS)
    assert difference(exact_logits(path), expected) < 1e-4
    assert difference(lutmac.load(path, precision="exact").logits(TOKENS), expected) < 2e-3


def test_embeddings_are_those_of_the_plain_model(tmp_path: Path) -> None:
    """What the head reads is rotated; what a caller gets is not."""
    tiny = make_tiny_llama(tmp_path / "plain.gguf", "F32")
    path = rotated_file(File.read(tiny.path), 64).write(tmp_path / "rotated.gguf")
    expected, found = (lutmac.load(at, precision="exact").embed(["a text"]) for at in (tiny.path, path))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["qwen3_5", "qwen3_5_moe"])
def test_a_rotated_delta_net_has_the_logits_of_transformers(name: str, tmp_path: Path) -> None:
    """transformers computed them of the same weights; value heads are tiled in the file, and grouped in the matrix."""
    plain = File.read(CONVERTED / f"{name}.gguf")
    keys = [int(plain.metadata[f"{plain.metadata['general.architecture'][0]}.ssm.{key}"][0])
            for key in ("group_count", "time_step_rank")]  # fmt: skip
    path = rotated_file(plain, 32, heads=(keys[0], keys[1])).write(tmp_path / "rotated.gguf")
    references = np.load(CONVERTED / "logits.npz")
    tokens, expected = references["tokens"].tolist(), references[name]
    assert difference(exact_logits(path, tokens)[7::8], expected) < 1e-4
    assert difference(lutmac.load(path, precision="exact").logits(tokens)[7::8], expected) < 3e-3
    assert difference(lutmac.load(path).logits(tokens)[7::8], expected) < 1.0  # of garbage it is 5


def test_rotated_experts_read_rows_that_are_rotated_once(tmp_path: Path) -> None:
    """Before they are copied to each expert that they go to."""
    plain = File.read(CONVERTED / "olmoe.gguf")
    tensors, names = dict(plain.tensors), []
    for name, values in plain.tensors.items():
        if name.endswith("_exps.weight"):
            names.append(name)
            rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
            turned = rows.reshape(len(rows), -1, 32) @ transform(32)
            tensors[name] = turned.reshape(values.shape).astype(np.float32)
    file = replace(plain.with_keys(rotation_keys(names, 32, None)), tensors=tensors)
    path = file.write(tmp_path / "rotated.gguf")
    expected = np.load(CONVERTED / "logits.npz")
    assert difference(exact_logits(path, expected["tokens"].tolist())[7::8], expected["olmoe"]) < 1e-4
    model = lutmac.load(path, threads=1)
    assert model.program().count("hadamard") == 2 * 2  # layers; before the gather, and before down


def test_threads_and_chunks_do_not_change_a_bit(tmp_path: Path) -> None:
    plain = File.read(CONVERTED / "qwen3_5.gguf")
    path = rotated_file(plain, 32, heads=(2, 6)).write(tmp_path / "rotated.gguf")
    expected = lutmac.load(path, threads=1).logits(TOKENS[:65])
    in_chunks = lutmac.load(path, threads=2, max_batch_tokens=16).logits(TOKENS[:65])
    np.testing.assert_array_equal(in_chunks, expected)


# Sizes of a Bonsai in miniature: widths of 128 and 256, as blocks of PTQ1_0 want them.
BONSAI = {
    "embedding_length": 128, "feed_forward_length": 256, "block_count": 4, "attention.head_count": 4,
    "attention.head_count_kv": 1, "attention.key_length": 32, "attention.value_length": 32, "ssm.group_count": 2,
    "ssm.time_step_rank": 8, "ssm.state_size": 16, "ssm.inner_size": 128, "full_attention_interval": 4,
    "nextn_predict_layers": None,
}  # fmt: skip
BLOCK = 128


def bonsai(kind: str) -> tuple[File, File]:
    """A random one in that type, and the same model in floats, without a rotation."""
    template, rng = File.read(CONVERTED / "qwen3_5.gguf"), np.random.default_rng(11)
    plain = template.with_keys({f"qwen35.{key}": value for key, value in BONSAI.items()})
    signs = all_signs([128, 256])
    stored, floats, kinds = {}, {}, {}
    for name, shape in bonsai_shapes(len(template.metadata["tokenizer.ggml.tokens"][0])).items():
        if is_rotated(name) or name == "token_embd.weight":
            stored[name], rows = random_blocks(kind, shape, rng)
            kinds[name], floats[name] = kind, turned_back(rows, signs[shape[1]], BLOCK)
            if name.endswith("ssm_out.weight"):
                floats[name] = grouped(floats[name], (4, 8))  # back: heads of 4 runs of 2
        else:
            deviation = shape[-1] ** -0.5 if len(shape) > 1 else 0.2
            floats[name] = rng.normal(1.0 if "norm" in name else 0.0, deviation, shape)
            floats[name] = -np.exp(floats[name]) if name.endswith("ssm_a") else floats[name]
            stored[name] = floats[name].astype(np.float32)
    names = [name for name in stored if is_rotated(name)]
    keys = rotation_keys(names, BLOCK, signs, tables=["token_embd.weight"])
    keys |= {"prism.hadamard.gdn_v_grouped": True, "general.file_type": 143}
    floats = {name: values.astype(np.float32) for name, values in floats.items()}
    return replace(plain.with_keys(keys), tensors=stored, kinds=kinds), replace(plain, tensors=floats)


def bonsai_shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, 128), "output_norm.weight": (128,), "output.weight": (vocabulary, 128),
    }  # fmt: skip
    attention = {
        "attn_q": (256, 128), "attn_k": (32, 128), "attn_v": (32, 128), "attn_output": (128, 128),
        "attn_q_norm": (32,), "attn_k_norm": (32,),
    }  # fmt: skip
    delta_net = {
        "attn_qkv": (192, 128), "attn_gate": (128, 128), "ssm_alpha": (8, 128), "ssm_beta": (8, 128),
        "ssm_conv1d": (192, 4), "ssm_norm": (16,), "ssm_out": (128, 128),
    }  # fmt: skip
    both = {
        "attn_norm": (128,), "post_attention_norm": (128,), "ffn_gate": (256, 128), "ffn_up": (256, 128),
        "ffn_down": (128, 256),
    }  # fmt: skip
    for layer in range(4):
        own = attention if layer == 3 else delta_net
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in (both | own).items()}
        if layer != 3:
            shapes |= {f"blk.{layer}.ssm_a": (8,), f"blk.{layer}.ssm_dt.bias": (8,)}
    return shapes


@pytest.mark.parametrize("kind", ["PQ2_0", "PTQ1_0"])
def test_a_small_bonsai_has_the_logits_of_its_floats(kind: str, tmp_path: Path) -> None:
    """That path is held against transformers by the tests of converted files.

    The random delta rules magnify what is rounded: 8 bits are off by 0.16 without any rotation, garbage by 1.4.
    """
    made, plain = bonsai(kind)
    path, floats = made.write(tmp_path / "bonsai.gguf"), plain.write(tmp_path / "plain.gguf")
    expected = exact_logits(floats)
    assert difference(exact_logits(path), expected) < 2e-4
    assert difference(lutmac.load(path, precision="exact").logits(TOKENS), expected) < 2e-3
    default = lutmac.load(path, threads=2)
    assert relative_error(default.logits(TOKENS), expected) < 0.25
    assert default.info().tensor_types[kind] == 4 * 3 + 3 * 3 + 4 + 2


def test_a_small_bonsai_is_converted_and_quantised(tmp_path: Path) -> None:
    path = bonsai("PTQ1_0")[0].write(tmp_path / "bonsai.gguf")
    lutmac.convert(path, tmp_path / "native")
    expected = lutmac.load(path).logits(TOKENS)
    np.testing.assert_array_equal(lutmac.load(tmp_path / "native").logits(TOKENS), expected)
    lutmac.quantize_model(path, tmp_path / "small", lutmac.QuantizationSettings(bits=8))
    exact = lutmac.load(path, precision="exact").logits(TOKENS)
    assert relative_error(lutmac.load(tmp_path / "small", precision="exact").logits(TOKENS), exact) < 0.2


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"version": 3}, UnsupportedModelError, "version is 3; of rotated matrices 1 and 2 is known"),
        ({"version": None}, CheckpointError, "version is missing"),
        ({"transform": "walsh"}, UnsupportedModelError, "transform is 'walsh'"),
        ({"axis": "output"}, UnsupportedModelError, "axis is 'output'"),
        ({"sign_mode": "random"}, UnsupportedModelError, "sign_mode is 'random'"),
        ({"block_size": 96}, UnsupportedModelError, "block_size is 96, not a power of two"),
        (
            {"block_size": 512},
            (UnsupportedModelError, CheckpointError),
            "sign_widths are not different multiples of 512",
        ),
        ({"sign_widths": [256]}, CheckpointError, "sign_values are not a 1 or -1 for each of 256 inputs"),
        ({"sign_values": [2] * (HIDDEN + FFN)}, CheckpointError, "sign_values are not a 1 or -1"),
        ({"sign_widths": [256, 256, 256]}, CheckpointError, "sign_widths are not different"),
        ({"weight_names": None}, CheckpointError, "weight_names is not an array"),
        (
            {"weight_names": ["blk.0.attn_norm.weight"]},
            UnsupportedModelError,
            "attn_norm.weight, which no product reads",
        ),
        ({"inverse_weight_names": None}, UnsupportedModelError, "inverse_weight_names not token_embd.weight"),
        ({"inverse_weight_names": ["blk.0.ffn_up.weight"]}, UnsupportedModelError, "inverse_weight_names"),
        ({"twist": 1}, UnsupportedModelError, "prism.hadamard.twist"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(
    keys: dict[str, Any], error: type[LutmacError], message: str, tmp_path: Path
) -> None:
    tiny = make_tiny_llama(tmp_path / "plain.gguf", "F32")
    file = rotated_file(File.read(tiny.path), 128)
    names = [*file.metadata["prism.hadamard.weight_names"][0], "output.weight"]
    changed = {f"prism.hadamard.{key}": value for key, value in ({"weight_names": names} | keys).items()}
    path = file.with_keys(changed).write(tmp_path / "rotated.gguf")
    with pytest.raises(error, match=message) as raised:
        lutmac.load(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_width_without_signs_is_refused(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "plain.gguf", "F32")
    file = rotated_file(File.read(tiny.path), 128)
    keys = {"prism.hadamard.sign_widths": [HIDDEN], "prism.hadamard.sign_values": [1] * HIDDEN}
    path = file.with_keys(keys).write(tmp_path / "rotated.gguf")
    with pytest.raises(UnsupportedModelError, match=r"sign_widths lacks 512, the width of blk\.0\.ffn_down\.weight"):
        lutmac.load(path)


def test_prisms_types_without_a_rotation_are_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "PTQ1_0")
    lutmac.load(tiny.path)
    assert "tensors of type PTQ1_0 and no metadata of a rotation" in caplog.text
