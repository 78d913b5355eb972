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
