"""Latent attention in directories of low-bit weights: the key half of ``kv_b_proj`` is turned, whatever holds it."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac.lowbit.matrix import ByteFloats, LowBitMatrix, plain_codes
from lutmac.lowbit.reference import BYTE_FLOATS, dequantize
from lutmac.lowbit.turned import turned

ROOT = Path(__file__).parent / "architectures"
sys.path.insert(0, str(ROOT))

from cases import CASES, TOKENS  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402

SHAPES = json.loads((ROOT / "shapes.json").read_text())
BLOCK = 128


def quantised(name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FP8 codes and a scale for each block of 128 x 128, as DeepSeek's checkpoints have them."""
    random = np.random.default_rng(list(name.encode()))
    scale = random.uniform(0.5, 2.0, [-(-size // BLOCK) for size in values.shape]).astype(np.float32)
    scale *= np.float32(np.abs(values).max() / 100)
    spread = np.repeat(np.repeat(scale, BLOCK, 0), BLOCK, 1)[: values.shape[0], : values.shape[1]]
    table = BYTE_FLOATS["e4m3"].copy()
    table[[0x7F, 0xFF]] = np.inf
    order = np.argsort(table)
    places = np.clip(np.searchsorted(table[order], values / spread), 0, len(order) - 1)
    return order[places].astype(np.uint8), scale


def write_fp8(
    directory: Path, config: Mapping[str, object], weights: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """A directory whose products are FP8 with block scales. Returns what its weights stand for."""
    write_checkpoint(directory, {**config, "quantization_config": {
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK],
    }}, {})  # fmt: skip
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    meant = dict(weights)
    for name, values in weights.items():
        if not name.endswith("_proj.weight") and "kv_a_proj" not in name:
            tensors[name] = ("F32", values)
            continue
        codes, scale = quantised(name, values)
        tensors[name], tensors[f"{name}_scale_inv"] = ("F8_E4M3", codes), ("F32", scale)
        spread = np.repeat(np.repeat(scale, BLOCK, 0), BLOCK, 1)[: values.shape[0], : values.shape[1]]
        meant[name] = BYTE_FLOATS["e4m3"][codes] * spread
    header, offset = {}, 0
    for name, (kind, values) in tensors.items():
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    contents = b"".join(values.tobytes() for _, values in tensors.values())
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + contents)
    return meant


@pytest.mark.parametrize("name", ["deepseek-v3", "glm4-moe-lite"])
def test_fp8_with_block_scales(name: str, tmp_path: Path) -> None:
    """Against the same weights as floats. Turned ones are rounded to float16."""
    config = CASES[name].config
    weights = random_weights(config, {key: tuple(shape) for key, shape in SHAPES[name].items()})
    meant = write_fp8(tmp_path / "fp8", config, weights)
    write_checkpoint(tmp_path / "floats", config, meant)
    found, expected = (
        lutmac.load(tmp_path / kind, precision="exact", kv_cache="f32", threads=1).logits(TOKENS)
        for kind in ("fp8", "floats")
    )
    assert np.abs(found - expected).max() / expected.std() < 5e-3


def fields_of_words(codes: np.ndarray, order: tuple[int, ...] = tuple(range(8))) -> np.ndarray:
    """Eight columns of codes in each int32; order: which of the eight lies where, from the lowest bits on."""
    parts = codes.astype(np.uint32).reshape(len(codes), -1, 8)
    return np.bitwise_or.reduce([parts[..., which] << np.uint32(4 * at) for at, which in enumerate(order)]).view(
        np.int32
    )


def write_int4(
    directory: Path, config: Mapping[str, object], weights: Mapping[str, np.ndarray], kind: str, *, keeps: str
) -> dict[str, np.ndarray]:
    """A directory whose products are 4 bits in groups of 32. keeps: which stay floats. Returns what it stands for."""
    settings: dict[str, dict[str, object]] = {
        "awq": {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"},
        "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False, "desc_act": False},
        "compressed-tensors": {
            "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head", f"re:.*{keeps}$"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32,
            }}},
        },
    }  # fmt: skip
    awq_order = (0, 2, 4, 6, 1, 3, 5, 7)
    tensors, meant = dict(weights), dict(weights)
    for name, values in weights.items():
        stem = name.removesuffix(".weight")
        if "_proj" not in name or stem.endswith(keeps):
            continue
        random = np.random.default_rng(list(name.encode()))
        rows, columns = values.shape
        codes, zeros = random.integers(0, 16, (rows, columns)), random.integers(6, 10, (rows, columns // 32))
        scale = (random.uniform(0.5, 1.5, zeros.shape) * np.abs(values).max() / 8).astype(np.float16)
        if kind == "compressed-tensors":
            zeros = np.full_like(zeros, 8)
        spread = [np.repeat(part, 32, 1).astype(np.float32) for part in (zeros, scale)]
        meant[name] = (codes.astype(np.float32) - spread[0]) * spread[1]
        if stem.endswith("kv_b_proj"):  # whose key halves, of 32 rows of each 64, are turned and so rounded
            keys = meant[name].reshape(-1, 2, 32, columns)[:, 0]
            keys[:] = keys.astype(np.float16)
        del tensors[name]
        match kind:
            case "awq":
                tensors[f"{stem}.qweight"] = fields_of_words(codes.T, awq_order)
                tensors[f"{stem}.qzeros"] = fields_of_words(zeros.T, awq_order)
                tensors[f"{stem}.scales"] = np.ascontiguousarray(scale.T)
            case "gptq":  # zero points are stored less 1
                tensors[f"{stem}.qweight"] = np.ascontiguousarray(fields_of_words(codes).T)
                tensors[f"{stem}.qzeros"] = fields_of_words(zeros.T - 1)
                tensors[f"{stem}.scales"] = np.ascontiguousarray(scale.T)
                tensors[f"{stem}.g_idx"] = (np.arange(columns) // 32).astype(np.int32)
            case _:
                tensors[f"{stem}.weight_packed"] = fields_of_words(codes)
                tensors[f"{stem}.weight_scale"] = scale
                tensors[f"{stem}.weight_shape"] = np.array(values.shape, np.int64)
    write_checkpoint(directory, {**config, "quantization_config": settings[kind]}, tensors)
    return meant


@pytest.mark.parametrize("kind", ["awq", "gptq", "compressed-tensors"])
@pytest.mark.parametrize("keeps", ["no_layer", "kv_b_proj"])
@pytest.mark.parametrize("name", ["deepseek-v2-lite", "deepseek-v3"])
def test_four_bits(name: str, keeps: str, kind: str, tmp_path: Path) -> None:
    """Against the same weights as floats, turned ones in half precision.

    Rope's share of a head is 16, as packing wants multiples of 8.
    """
    config = {**CASES[name].config, "qk_rope_head_dim": 16}
    shapes = {key: tuple(shape) for key, shape in SHAPES[name].items()}
    for key, (rows, *columns) in shapes.items():
        more = {"q_proj.weight": 18, "q_b_proj.weight": 18, "kv_a_proj_with_mqa.weight": 6}.get(
            key.split("attn.")[-1], 0
        )
        shapes[key] = (rows + more, *columns)
    meant = write_int4(tmp_path / "int4", config, random_weights(config, shapes), kind, keeps=keeps)
    write_checkpoint(tmp_path / "floats", config, meant)
    models = [
        lutmac.load(tmp_path / folder, precision="exact", kv_cache="f32", threads=1) for folder in ("int4", "floats")
    ]
    found, expected = (model.logits(TOKENS) for model in models)
    assert np.abs(found - expected).max() / expected.std() < 1e-4
    assert models[0].info().weight_bytes < 0.6 * models[1].info().weight_bytes


def test_turned_matrices_keep_what_they_stand_for() -> None:
    random = np.random.default_rng(0)
    matrix = LowBitMatrix(
        rows=32, columns=64, bits=4, group_size=32, source=random.integers(0, 16, (32, 64), np.uint8),
        layout=plain_codes(), scale=ByteFloats(random.integers(120, 130, (32, 2), np.uint8), "e8m0"), zero_point=8.0,
        input_permutation=random.permutation(64).astype(np.int32),
    )  # fmt: skip
    assert np.array_equal(dequantize(turned(matrix)), dequantize(matrix).T)
    large = LowBitMatrix(32, 64, 4, 64, matrix.source, plain_codes(), np.full((32, 1), 1e5, np.float32))
    assert np.array_equal(dequantize(turned(large)), dequantize(large).T)
