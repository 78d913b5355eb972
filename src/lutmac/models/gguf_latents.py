"""Latent attention as GGUF files since 2025 have it: the parts of ``kv_b_proj`` are stacks of a matrix for each head.

https://github.com/ggml-org/llama.cpp/pull/12801
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.models.delta_attention import GGUF_GATE, DeltaConfig
from lutmac.models.latent_attention import LatentConfig, Latents
from lutmac.models.rope import RopeScaling

Floats = NDArray[np.float32]


def latent_metadata(latents: Latents, scaling: RopeScaling, scale: float) -> dict[str, Any]:
    """Keys without the architecture's prefix; None: there is no such key. scale: of attention, see ``latent_scale``."""
    found: dict[str, Any] = {
        "attention.head_count_kv": 1,
        **_sizes(latents),
        "attention.kv_lora_rank": latents.kv_rank,
        "attention.q_lora_rank": latents.q_rank,
    }
    if scaling.kind == "yarn":
        growth = (scale * latents.head_dim**0.5) ** 0.5 - 1
        found["rope.scaling.attn_factor"] = None  # readers know it
        found["rope.scaling.yarn_log_multiplier"] = growth / log(scaling.factor)
    return found


def _sizes(latents: Latents) -> dict[str, Any]:
    return {
        "attention.key_length": latents.size,
        "attention.value_length": latents.kv_rank,
        "attention.key_length_mla": latents.head_dim,
        "attention.value_length_mla": latents.value_dim,
    }


def with_stacks(metadata: Mapping[str, Any], architecture: str, latents: Latents) -> dict[str, Any]:
    """A file's metadata as they are where the parts are stacks; older files had ``kv_b_proj`` as one."""
    key = f"{architecture}.attention.head_count_kv"
    heads = np.minimum(np.asarray(metadata[key], np.int32), 1)
    sizes = {f"{architecture}.{name}": size for name, size in _sizes(latents).items()}
    return {**metadata, **sizes, key: heads if heads.ndim else int(heads)}


def stacked_part(name: str, latents: Latents) -> str:
    """The name of a head's part of ``kv_b_proj`` where the parts are stacks; other names as they are."""
    part = re.fullmatch(r"(.*\.self_attn)\.kv_b_proj\.weight\[(\d+):\d+\](\.T)?", name)
    if part is None:
        return name
    head = int(part[2]) // (latents.nope_dim + latents.value_dim)
    return f"{part[1]}.{'k' if part[3] else 'v'}_b_proj.heads.{head}.weight"


def name_to_write(name: str, config: LatentConfig) -> str:
    """A tensor of a directory by the name for which GGUF has one: Ling's gates of attention are no delta rule's."""
    gate = re.fullmatch(r"model\.layers\.(\d+)\.self_attn\.g_proj\.weight", name)
    if gate is not None and isinstance(config, DeltaConfig) and int(gate[1]) in config.attention_layers:
        return name.replace(".g_proj.", f".{GGUF_GATE}.")
    return stacked_part(name, config.latents)


def delta_vector(config: LatentConfig, name: str, values: Floats) -> Floats:
    """A vector of a directory in GGUF's meaning: rates of decays instead of their logarithms."""
    if not name.endswith(".self_attn.A_log") or not isinstance(config, DeltaConfig):
        return values
    return np.exp(values) if config.delta.lower_bound else -np.exp(values)


def delta_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a vector of a directory, less dimensions of one, in GGUF: some have one there."""
    if name.endswith("_conv1d.weight"):
        return shape[0], 1, shape[1]
    return (*shape, 1) if name.endswith(".self_attn.A_log") else shape
