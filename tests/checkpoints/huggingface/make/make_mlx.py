"""MLX checkpoints, converted by mlx-lm: affine codes of all its bit widths, layers that differ, and its float modes.

torch==2.13.0 transformers==5.24.0 mlx==0.32.4 (mlx-cpu) mlx-lm==0.32.2
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from base import ROOT, save_plain, write_reference, write_tokenizer
from mlx_lm import convert

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("mlx", "mlx-lm", "transformers", "torch"))


def mixed(path: str, module: object) -> bool | dict[str, int]:
    """Down projections of 8 bits, layer 1's attention of 3 bits in larger groups, the head as it is."""
    if path == "lm_head":
        return False
    if path.endswith("down_proj"):
        return {"bits": 8, "group_size": 128}
    return {"bits": 3, "group_size": 64} if "layers.1.self_attn" in path else {"bits": 4, "group_size": 32}


def attention_of_8_bits(path: str, module: object) -> bool | dict[str, int]:
    """As the converted gpt-oss has it: what is not said of a layer is not that of all either."""
    return {"bits": 8, "group_size": 64} if "self_attn" in path else True


Settings = dict[str, object]
TIED: Settings = {"tie_word_embeddings": True, "hidden_size": 128, "intermediate_size": 192, "head_dim": 32}
CASES: dict[str, tuple[Settings, Callable[[str, object], object] | None, torch.dtype, dict[str, object]]] = {
    "mlx_2bit_g32": ({"q_bits": 2, "q_group_size": 32}, None, torch.float16, {}),
    "mlx_3bit_g64": ({"q_bits": 3, "q_group_size": 64}, None, torch.bfloat16, {}),
    "mlx_4bit_g64_tied": ({"q_bits": 4, "q_group_size": 64}, None, torch.bfloat16, TIED),
    "mlx_5bit_g32": ({"q_bits": 5, "q_group_size": 32}, None, torch.float32, {}),
    "mlx_6bit_g32": ({"q_bits": 6, "q_group_size": 32}, None, torch.float16, {}),
    "mlx_8bit_g64": ({"q_bits": 8, "q_group_size": 64}, None, torch.bfloat16, {}),
    "mlx_mixed": ({"q_bits": 4, "q_group_size": 32}, mixed, torch.bfloat16, {}),
    "mlx_mxfp4": ({"q_mode": "mxfp4"}, None, torch.bfloat16, {}),
    "mlx_mxfp4_8bit": ({"q_mode": "mxfp4"}, attention_of_8_bits, torch.bfloat16, {}),
    "mlx_mxfp8": ({"q_mode": "mxfp8"}, None, torch.bfloat16, {}),
    "mlx_nvfp4": ({"q_mode": "nvfp4"}, None, torch.bfloat16, {}),
}


def to_torch(array: mx.array) -> torch.Tensor:
    return torch.from_numpy(np.array(array.astype(mx.float32)))


def dequantized(stored: dict[str, mx.array], module: str, config: dict[str, object]) -> torch.Tensor:
    """The library's own weights in float32."""
    settings = {"mode": "affine", **config[module]} if module in config else config
    bits, size, mode = (settings[key] for key in ("bits", "group_size", "mode"))
    scales, biases = stored[f"{module}.scales"], stored.get(f"{module}.biases")
    if biases is not None:
        scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
    found = mx.dequantize(
        stored[f"{module}.weight"], scales, biases, group_size=size, bits=bits, mode=mode, dtype=mx.float32
    )
    return to_torch(found)


for name, (settings, predicate, dtype, changes) in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory, plain = ROOT / name, Path(tempfile.mkdtemp())
    save_plain(plain, dtype, **changes)
    shutil.rmtree(directory, ignore_errors=True)
    convert(str(plain), str(directory), quantize=True, quant_predicate=predicate, **settings)
    (directory / "README.md").unlink(missing_ok=True)
    write_tokenizer(directory)
    stored = mx.load(str(directory / "model.safetensors"))
    config = json.loads((directory / "config.json").read_text())["quantization"]
    weights = {}
    for key, value in stored.items():
        module, _, part = key.rpartition(".")
        if part == "bias" or (part == "weight" and f"{module}.scales" not in stored):
            weights[key] = to_torch(value)
        elif part == "weight":
            weights[key] = dequantized(stored, module, config)
    write_reference(directory, weights, MADE_WITH, **changes)
