"""DeepSeek V2 and V3 (2024), and GLM-4.7-Flash (2026) in their form: latent attention and a mixture of experts.

https://arxiv.org/abs/2405.04434, https://arxiv.org/abs/2412.19437
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config, read_rope
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_dense_layers, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.latent_attention import (
    GGUF_NAMES,
    LatentDecoder,
    LatentMixtureConfig,
    gguf_latent_keys,
    latent_keys,
    latent_scale,
    read_gguf_latents,
    read_latents,
)
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder

_GGUF: Final = "deepseek2"
_COMMON: Final = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "hidden_act": "silu"}
DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "deepseek_v2": {
        **_COMMON, "vocab_size": 102400, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "v_head_dim": 128,
        "n_routed_experts": 64, "n_shared_experts": 2, "moe_intermediate_size": 1407, "first_k_dense_replace": 0,
        "norm_topk_prob": False,
    },
    "deepseek_v3": {
        **_COMMON, "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
        "num_attention_heads": 128, "max_position_embeddings": 4096, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
        "v_head_dim": 128, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5,
        "first_k_dense_replace": 3,
    },
    "glm4_moe_lite": {
        **_COMMON, "vocab_size": 154880, "hidden_size": 2048, "intermediate_size": 10240, "num_hidden_layers": 47,
        "num_attention_heads": 20, "max_position_embeddings": 202752, "rms_norm_eps": 1e-5, "q_lora_rank": 768,
        "qk_nope_head_dim": 192, "v_head_dim": 256, "moe_intermediate_size": 1536, "n_routed_experts": 64,
        "n_shared_experts": 1, "num_experts_per_tok": 4, "routed_scaling_factor": 1.8, "first_k_dense_replace": 1,
    },
}  # fmt: skip


class DeepSeek(MixtureDecoder, LatentDecoder):
    """Experts that a bias may help to select."""

    SELECTION_BIASES = ("mlp.gate.e_score_correction_bias",)
    config: LatentMixtureConfig

    def __init__(self, config: LatentMixtureConfig) -> None:
        """As a decoder."""
        super().__init__(config)


def read_config(config: Mapping[str, Any]) -> LatentMixtureConfig:
    """The keys of a config.json."""
    kind = str(config.get("model_type"))
    config = {
        **DEFAULTS.get(kind, DEFAULTS["deepseek_v3"]),
        **{key: value for key, value in config.items() if _is_said(key, value)},
    }
    read, latents = MetadataReader(config, ""), read_latents(config)
    if read.integer("moe_layer_freq", 1) != 1:
        raise UnsupportedModelError(f"experts in every {read.integer('moe_layer_freq')}th layer are not supported")
    decoder = read_decoder_config(latent_keys(config))
    style: RopeStyle = "half_split" if config.get("rope_interleave") is False else "interleaved"
    rope = replace(read_rope({**config, "partial_rotary_factor": 1.0}, latents.rope_dim), style=style)
    first = read.integer("first_k_dense_replace", low=0)
    softmax = kind == "deepseek_v2"
    mixture = json_mixture(
        replace(decoder, rope=rope, attention_scale=latent_scale(latents, rope.scaling, _all_dimensions(config))),
        config if config.get("topk_method") != "greedy" else {**config, "n_group": 1, "topk_group": 1},
        scores="softmax" if softmax else "sigmoid",
        shared_width=read.integer("n_shared_experts", 0, low=0) * read.integer("moe_intermediate_size"),
        dense_layers=json_dense_layers(config, decoder.num_hidden_layers, first),
    )
    return LatentMixtureConfig(**{**vars(mixture), "latents": latents, "group_scores": 1 if softmax else 2})


def _is_said(key: str, value: object) -> bool:
    """Without ``q_lora_rank`` one product makes queries; null elsewhere is what the family has."""
    return value is not None or key == "q_lora_rank"


def _all_dimensions(config: Mapping[str, Any]) -> float:
    """``mscale_all_dim`` of YaRN."""
    values = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return MetadataReader(values, "").number("mscale_all_dim", 0.0) if isinstance(values, Mapping) else 0.0


def read_gguf_config(metadata: Mapping[str, Any]) -> LatentMixtureConfig:
    """GGUF's keys. Files of DeepSeek V2 do not say how experts are scored; GLM-4.7-Flash's neither, see llama.cpp."""
    # Youtu's models have no experts, and leading dense layers alone.
    metadata = {f"{_GGUF}.expert_count": 1, f"{_GGUF}.expert_used_count": 1, **metadata}
    read = MetadataReader(metadata, _GGUF)
    latents = read_gguf_latents(read)
    decoder = gguf_latent_decoder(metadata, _GGUF, latents)
    tokens = metadata.get("tokenizer.ggml.tokens")
    glm = decoder.num_hidden_layers in (47, 48) and decoder.vocab_size == 154880 and tokens is not None
    width = read.same_for_all_layers("expert_feed_forward_length")
    shared = read.integer("expert_shared_count", 0, low=0) * width
    unsaid = Unsaid("sigmoid" if glm else "softmax", normalized=False)
    mixture = gguf_mixture(decoder, metadata, _GGUF, unsaid, shared_width=shared)
    of_group = 1 if mixture.expert_scores == "softmax" else 2
    return LatentMixtureConfig(**{**vars(mixture), "latents": latents, "group_scores": of_group})


def gguf_latent_decoder(metadata: Mapping[str, Any], architecture: str, latents: Any) -> DecoderConfig:
    """A decoder whose attention scale has YaRN's factor: its key, a tenth of ``mscale_all_dim``, leaves the rope as is.

    llama.cpp takes ``mscale`` for the same as ``mscale_all_dim``, or 1 where that is 1 (llama-context.cpp).
    """
    read = MetadataReader(metadata, architecture)
    decoder = read_gguf_decoder_config(gguf_latent_keys(metadata, architecture, latents), architecture, "interleaved")
    rope, all_dimensions = decoder.rope, 10 * read.number("rope.scaling.yarn_log_multiplier", 0.0)
    if rope.scaling.kind == "yarn" and all_dimensions:
        rope = replace(rope, scaling=replace(rope.scaling, attention_factor=1.0))
    return replace(decoder, rope=rope, attention_scale=latent_scale(latents, rope.scaling, all_dimensions))


def build(config: LatentMixtureConfig) -> Graph:
    """The graph of one step."""
    return DeepSeek(config).model()


ARCHITECTURE = Architecture(
    "deepseek", read_config, read_gguf_config, gguf_names({**MIXTURE_NAMES, **GGUF_NAMES}), build
)
