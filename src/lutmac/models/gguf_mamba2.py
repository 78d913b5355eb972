"""Mamba2 and what stands beside it as GGUF files have them: metadata, and what differs in their tensors.

Falcon-H1's multipliers are in GGUF's matrices. https://github.com/ggml-org/llama.cpp/pull/14534
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import UnsupportedModelError
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.falcon_h1 import FalconH1Config, Multipliers
from lutmac.models.granite_hybrid import GraniteHybridConfig
from lutmac.models.mamba2 import Mamba2, Mamba2Config
from lutmac.models.nemotron_h import NemotronHConfig

Floats = NDArray[np.float32]
_HEADS = (".A_log", ".D")  # of each head one number, which is a row there


def mamba_keys(config: Mamba2Config) -> dict[str, Any]:
    """Keys without the architecture's prefix, those of state-space models."""
    mamba = config.mamba
    return {
        "ssm.conv_kernel": mamba.kernel,
        "ssm.state_size": mamba.state_size,
        "ssm.group_count": mamba.groups,
        "ssm.time_step_rank": mamba.heads,
        "ssm.inner_size": mamba.width,
    }


def granite_hybrid_keys(config: GraniteHybridConfig) -> dict[str, Any]:
    """Which layers have attention; and whether that has rope."""
    has_heads = np.isin(np.arange(config.num_hidden_layers), config.attention_layers)
    return {
        **mamba_keys(config),
        "attention.head_count_kv": (has_heads * config.num_key_value_heads).astype(np.int32),
        "rope.scaling.finetuned": not config.no_rope_layers,
    }


def nemotron_keys(config: NemotronHConfig) -> dict[str, Any]:
    """What each layer is, by heads of keys and by widths of MLPs."""
    kinds = np.array(config.kinds)
    width = config.moe_intermediate_size if config.num_experts else config.intermediate_size
    found = {
        **mamba_keys(config),
        "attention.head_count_kv": ((kinds == "attention") * config.num_key_value_heads).astype(np.int32),
        "attention.layer_norm_epsilon": config.rms_norm_eps,
        "feed_forward_length": (np.isin(kinds, ("mlp", "moe")) * width).astype(np.int32),
        "rope.scaling.finetuned": False,
    }
    return {**found, "moe_latent_size": config.latent_size} if config.latent_size else found


@dataclass(frozen=True)
class MambaTensors:
    """What becomes of tensors, by their Hugging Face names. multipliers: Falcon-H1's."""

    mamba: Mamba2
    factors: Mapping[str, tuple[tuple[int, float], ...]]

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A vector's shape in GGUF: numbers of heads are rows, and norms have a row for each group."""
        if name.endswith(_HEADS):
            return (*shape, 1)
        of_groups = name.endswith((".mamba.norm.weight", ".mixer.norm.weight"))
        return (self.mamba.groups, self.mamba.width // self.mamba.groups) if of_groups else shape

    def vector(self, name: str, values: Floats) -> Floats:
        """A vector in GGUF's meaning: rates instead of their logarithms."""
        return -np.exp(values) if name.endswith(".A_log") else values

    def row_factors(self, name: str) -> Floats | None:
        """What each row of a matrix is multiplied by; None: by nothing."""
        part = name.removesuffix(".weight").rpartition(".")[2]
        if part not in self.factors:
            return None
        counts, factors = zip(*self.factors[part], strict=True)
        return np.repeat(np.array(factors, np.float32), counts)


def gguf_form(config: DecoderConfig) -> DecoderConfig:
    """A configuration as GGUF has the same model: multipliers in matrices; without Mamba2 as the older family.

    Nemotron-H's lower bound of time steps is nowhere in GGUF.

    Raises UnsupportedModelError where a multiplier has no matrix of its own.
    """
    if isinstance(config, FalconH1Config):
        tied = "lm_head.weight" not in config.optional and config.embedding_scale != config.logits_scale
        if tied:
            raise UnsupportedModelError("GGUF's falcon-h1 cannot say that embedding and head have other multipliers")
        changes: dict[str, Any] = {"attention_scale": None, "embedding_scale": 1.0, "logits_scale": 1.0}
        return replace(config, multipliers=Multipliers(), **changes)
    if isinstance(config, GraniteHybridConfig) and len(config.attention_layers) == config.num_hidden_layers:
        older = MixtureConfig if config.num_experts else DecoderConfig
        return older(**{field.name: getattr(config, field.name) for field in fields(older)})
    if isinstance(config, NemotronHConfig):  # of which llama.cpp's converter, too, leaves out the bound
        return replace(config, mamba=replace(config.mamba, time_step_min=0.0))
    return config


def mamba_tensors(config: DecoderConfig) -> MambaTensors | None:
    """Of a model as its directory has it; None where it has no Mamba2."""
    if not isinstance(config, Mamba2Config):
        return None
    return MambaTensors(config.mamba, _factors(config) if isinstance(config, FalconH1Config) else {})


def _factors(config: FalconH1Config) -> dict[str, tuple[tuple[int, float], ...]]:
    """Of each kind of matrix the rows, and what they are multiplied by."""
    times, mamba, hidden = config.multipliers, config.mamba, config.hidden_size
    key_multiplier = (config.attention_scale or config.head_dim**-0.5) * config.head_dim**0.5
    kv_width = config.num_key_value_heads * config.head_dim
    widths = (mamba.width, mamba.width, mamba.states, mamba.states, mamba.heads)
    return {
        "embed_tokens": ((config.vocab_size, config.embedding_scale),),
        "lm_head": ((config.vocab_size, config.logits_scale),),
        "q_proj": ((config.num_attention_heads * config.head_dim, times.attention_in),),
        "k_proj": ((kv_width, times.attention_in * key_multiplier),),
        "v_proj": ((kv_width, times.attention_in),),
        "o_proj": ((hidden, times.attention_out),),
        "in_proj": tuple((width, times.mamba_in * part) for width, part in zip(widths, times.mamba_parts, strict=True)),
        "out_proj": ((hidden, times.mamba_out),),
        "gate_proj": ((config.intermediate_size, times.gate),),
        "down_proj": ((hidden, times.down),),
    }
