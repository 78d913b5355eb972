"""Checkpoints of random weights that a name alone determines, so that only their logits need to be kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from safetensors.numpy import save_file

TOKENIZER = Path(__file__).parents[2] / "checkpoints" / "huggingface" / "bf16"
Shapes = Mapping[str, tuple[int, ...]]


def random_tensor(name: str, shape: tuple[int, ...], *, centred_norms: bool) -> np.ndarray:
    """Multiples of a power of two with 7 bits, which every float type of checkpoints holds exactly.

    centred_norms: norms' weights are stored less 1. xIELU's eps is what it is in every checkpoint.
    """
    if name.endswith("act_fn.eps"):
        return np.full(shape, np.float32(-1e-6))
    bits = np.random.Philox(crc32(name.encode())).random_raw(int(np.prod(shape)))
    uniform = ((bits >> np.uint64(40)) % np.uint64(255)).astype(np.float32).reshape(shape) / 128 - 127 / 128
    if len(shape) < 2:
        center = 0.0 if name.endswith("bias") or centred_norms else 1.0
        if name.endswith("A_log"):  # a memory of some tokens
            center = -2.0
        return np.asarray(center + uniform / 4, np.float32)
    spread = 0.125 if "embed" in name else 2.0 ** np.ceil(np.log2(1.5 * shape[-1] ** -0.5))
    return np.asarray(uniform * np.float32(spread), np.float32)


def random_weights(config: Mapping[str, Any], shapes: Shapes) -> dict[str, np.ndarray]:
    kind = config["model_type"]
    unscaled = kind.startswith(("gemma3n", "gemma4"))  # scores are as large as norms of heads make them
    centred = kind.startswith(("gemma2", "gemma3", "qwen3_5", "qwen3_next")) and not kind.startswith("gemma3n")
    found = {
        name: random_tensor(name, tuple(shape), centred_norms=centred and ".linear_attn." not in name)
        for name, shape in shapes.items()
    }
    halved = {name for name in found if unscaled and name.endswith(("q_norm.weight", "k_norm.weight"))}
    return {name: values / 2 if name in halved else values for name, values in found.items()}


def write_checkpoint(directory: Path, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
    """A Hugging Face directory, with a tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    save_file(dict(weights), directory / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, directory / name)
