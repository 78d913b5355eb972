"""A decoder's configuration as a GGUF file's metadata, and how its tensors differ there (docs/gguf.md in ggml).

What GGUF cannot say is found by reading the metadata back: where that makes another model, there is an error that names
the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from lutmac.errors import UnsupportedModelError
from lutmac.models import Architecture, ModelConfig, find_architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.delta_net import HybridConfig
from lutmac.models.gemma4_config import Gemma4Config
from lutmac.models.gemma4_config import gguf_metadata as gemma4_metadata
from lutmac.models.gguf_delta_net import TiledHeads, delta_net_metadata
from lutmac.models.rope import RopeConfig, RopeScaling

# By the names of our architectures. Others have files of one tensor for several, or metadata of their own.
ARCHITECTURES: Final = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma4": "gemma4",
    "qwen3_5": "qwen35",
    "cohere2": "cohere2",
    "ernie4_5": "ernie4_5",
    "exaone4": "exaone4",
    "granite": "granite",
    "hunyuan_v1_dense": "hunyuan-dense",
    "ministral3": "mistral3",
    "seed_oss": "seed_oss",
}
BIASED: Final = ("llama", "qwen2", "seed_oss")  # other files of GGUF's have no biases
# Readers of these look for the layers that have windows, of others they know.
_PATTERNED: Final = ("cohere2", "exaone4")
_LAYER_NORMED: Final = ("cohere2",)


@dataclass(frozen=True)
class GGUFModel:
    """What a GGUF file says of a model.

    name: of the architecture in GGUF. metadata: without tokenizer. architecture: what reads it. neighbours: rows of q
    and k come in the order of a rope that pairs neighbours. norm_weight_bias: what is added to norms' weights, but for
    those behind a delta rule. rope_factors: a tensor or None. heads: the order of a DeltaNet's tensors, None where
    there is none.
    """

    name: str
    metadata: dict[str, Any]
    architecture: Architecture
    head_dim: int
    neighbours: bool
    norm_weight_bias: float
    rope_factors: tuple[float, ...] | None
    heads: TiledHeads | None = None


def gguf_model(own: str, config: ModelConfig, *, biases: bool) -> GGUFModel:
    """Of a model from a Hugging Face directory; own: its architecture's name. biases: some product has one.

    Raises UnsupportedModelError, naming what GGUF has no word for.
    """
    if own not in ARCHITECTURES or type(config) not in (DecoderConfig, HybridConfig, Gemma4Config):
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedModelError(f"GGUF cannot be written from a directory of {own!r}; it can from {known}")
    name = ARCHITECTURES[own]
    if biases and name not in BIASED:
        raise UnsupportedModelError(f"GGUF's {name} has no biases, and this model has")
    assert isinstance(config, DecoderConfig)
    architecture = find_architecture(name)
    metadata = {f"{name}.{key}": value for key, value in (_metadata(config) | _of_family(name, config)).items()}
    read = architecture.read_gguf_config({**metadata, "general.architecture": name})
    assert isinstance(read, DecoderConfig)
    scaling = config.rope.scaling
    factors = _factors(config.rope) if scaling.kind == "llama3" else config.rope.factors or None
    expected = replace(
        config,
        norm_weight_bias=0.0,
        rope=_as_read(config.rope, read.rope),
        windows=_shown(config),
        optional=read.optional,
    )
    if isinstance(expected, Gemma4Config) and isinstance(read, Gemma4Config):
        if expected.num_experts:
            raise UnsupportedModelError(f"GGUF's {name} with experts cannot be written")
        table = expected.per_layer_vocab if expected.per_layer_width else read.per_layer_vocab
        expected = replace(expected, keys_are_values=None, per_layer_vocab=table)
    if isinstance(expected, HybridConfig):
        expected = replace(expected, delta_net=replace(expected.delta_net, tiled=True, rate_is_log=False))
    for field in fields(expected):
        wanted, found = getattr(expected, field.name), getattr(replace(read, windows=_shown(read)), field.name)
        if wanted != found and field.name != "attention_scale":
            raise UnsupportedModelError(f"GGUF's {name} cannot say that {field.name} is {wanted!s:.80}")
    if _attention_scale(config) != _attention_scale(read):
        raise UnsupportedModelError(f"GGUF's {name} cannot say that attention_scale is {config.attention_scale}")
    neighbours = read.rope.style == "interleaved" and config.rope.style == "half_split"
    if neighbours and config.rope.rotary_dim != config.head_dim:
        raise UnsupportedModelError(f"GGUF's {name} cannot rotate a part of a head alone")
    rounded = {key: float(np.float32(value)) if isinstance(value, float) else value for key, value in metadata.items()}
    heads = TiledHeads(config.delta_net) if isinstance(config, HybridConfig) else None
    return GGUFModel(name, rounded, architecture, config.head_dim, neighbours, config.norm_weight_bias, factors, heads)


def _metadata(config: DecoderConfig) -> dict[str, Any]:
    """Keys without the architecture's prefix."""
    found: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.rope.rotary_dim,
        "rope.freq_base": config.rope.theta,
        "vocab_size": config.vocab_size,
        **_scaling(config.rope.scaling),
        **(delta_net_metadata(config) if isinstance(config, HybridConfig) else {}),
        **(gemma4_metadata(config) if isinstance(config, Gemma4Config) else {}),
    }
    if any(config.windows):
        found["attention.sliding_window"] = max(config.windows)
    if config.local_rope is not None:
        found["rope.freq_base_swa"] = config.local_rope.theta
    if config.attention_softcap:
        found["attn_logit_softcapping"] = config.attention_softcap
    if config.logits_softcap:
        found["final_logit_softcapping"] = config.logits_softcap
    return found


def _of_family(name: str, config: DecoderConfig) -> dict[str, Any]:
    """Keys that only some architectures have, without their prefix."""
    found: dict[str, Any] = {}
    if name in _PATTERNED and any(config.windows):
        found["attention.sliding_window_pattern"] = np.array(config.windows) > 0
    if name in _LAYER_NORMED:
        found["attention.layer_norm_epsilon"] = config.rms_norm_eps
    if name == "cohere2":
        found["logit_scale"] = config.logits_scale
    if name == "granite":
        found["logit_scale"] = 1 / config.logits_scale
        found["embedding_scale"], found["residual_scale"] = config.embedding_scale, config.residual_scale
        found["attention.scale"] = _attention_scale(config)
    if config.query_beta:
        found["attention.temperature_scale"] = config.query_beta
    return found


def _scaling(scaling: RopeScaling) -> Mapping[str, Any]:
    if scaling.kind in ("none", "llama3"):  # the latter is a tensor of factors
        return {}
    found: dict[str, Any] = {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
    if scaling.kind == "yarn":
        recommended = RopeScaling("yarn", scaling.factor).attention_scale()
        found["rope.scaling.original_context_length"] = scaling.original_context
        if scaling.attention_scale() != recommended:
            found["rope.scaling.attn_factor"] = scaling.attention_scale() / recommended
        found["rope.scaling.yarn_beta_fast"] = scaling.beta_fast
        found["rope.scaling.yarn_beta_slow"] = scaling.beta_slow
    return found


def _as_read(rope: RopeConfig, read: RopeConfig) -> RopeConfig:
    """A rope as reading should find it: llama3's scaling in a tensor, factors that multiply to the same spelled out."""
    scaling = rope.scaling
    if scaling.kind == "llama3" or scaling.factor in (0.0, 1.0):
        scaling = RopeScaling()
    elif scaling.kind == "yarn":
        scaling = replace(scaling, attention_factor=scaling.attention_scale())
    return replace(rope, style=read.style, scaling=scaling, factors=())


def _factors(rope: RopeConfig) -> tuple[float, ...]:
    """What the plain frequencies are divided by."""
    scaled = rope.rope(0).inverse_frequency
    return tuple(rope.theta ** (-2 * i / rope.rotary_dim) / value for i, value in enumerate(scaled))


def _shown(config: DecoderConfig) -> tuple[int, ...]:
    """Windows, where a layer has one."""
    return config.windows if any(config.windows) else ()


def _attention_scale(config: DecoderConfig) -> float:
    return config.head_dim**-0.5 if config.attention_scale is None else config.attention_scale
