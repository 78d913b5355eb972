"""Kimi Linear (Kimi Team, 2025): Kimi Delta Attention, and latent attention without positions in every fourth layer.

https://arxiv.org/abs/2510.26692
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_dense_layers, json_mixture
from lutmac.models.delta_attention import GGUF_NAMES as DELTA_NAMES
from lutmac.models.delta_attention import (
    Delta,
    DeltaConfig,
    DeltaDecoder,
    read_gguf_attention_layers,
    read_gguf_delta,
    read_layer_types,
    usual_names,
)
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.latent_attention import (
    GGUF_NAMES,
    Latents,
    gguf_latent_keys,
    latent_keys,
    read_gguf_latents,
    read_latents,
)
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, SharedNames
from lutmac.models.rope import RopeConfig

_GGUF: Final = "kimi-linear"
DEFAULTS: Final[Mapping[str, Any]] = {
    "vocab_size": 163840, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 27,
    "num_attention_heads": 32, "max_position_embeddings": 1048576, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "moe_intermediate_size": 1024, "num_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1,
    "routed_scaling_factor": 2.446, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "linear_attn_config": {},
}  # fmt: skip
# Directories have experts by Mixtral's names, and as transformers writes them also the MLP of layers without.
_NAMES: Final = {
    **MIXTURE_NAMES,
    **GGUF_NAMES,
    **DELTA_NAMES,
    **{
        name.replace("mlp.", "block_sparse_moe.", 1): own
        for name, own in MIXTURE_NAMES.items()
        if ".experts." not in name
    },
    **{
        f"block_sparse_moe.{part}": own
        for part, own in (
            ("experts.w1", "ffn_gate_exps"), ("experts.w2", "ffn_down_exps"), ("experts.w3", "ffn_up_exps"),
            ("gate_proj", "ffn_gate"), ("up_proj", "ffn_up"), ("down_proj", "ffn_down"),
        )
    },
}  # fmt: skip


class KimiLinear(DeltaDecoder):
    """Experts by Mixtral's names, or by the usual ones."""

    NAMES = (
        ExpertNames("block_sparse_moe", "w1", "w3", "w2"),
        ExpertNames("mlp", "gate_proj", "up_proj", "down_proj"),
    )
    SELECTION_BIASES = tuple(f"{names.mixture}.gate.e_score_correction_bias" for names in NAMES)

    def mlp_names(self, layer: int) -> tuple[str, str, str]:
        """Of layers without experts: transformers writes them by the name that experts have."""
        inside = "block_sparse_moe" if self.has(f"model.layers.{layer}.block_sparse_moe.gate_proj.weight") else "mlp"
        return f"{inside}.gate_proj", f"{inside}.up_proj", f"{inside}.down_proj"

    def shared_names(self) -> SharedNames:
        """Where the experts are."""
        return SharedNames(f"{self.names.mixture}.shared_experts")


def read_config(config: Mapping[str, Any]) -> DeltaConfig:
    """The keys of a config.json, as the hub has them or transformers writes them."""
    config = {**DEFAULTS, **usual_names(config)}
    read, latents = MetadataReader(config, ""), read_latents(config)
    if read.integer("moe_layer_freq", 1) != 1:
        raise UnsupportedModelError("experts in some layers only (moe_layer_freq) are not supported")
    decoder = read_decoder_config(latent_keys(config))
    layers = decoder.num_hidden_layers
    mixture = json_mixture(
        _without_rope(decoder, latents),
        config,
        scores="sigmoid",
        shared_width=read.integer("n_shared_experts", 0, low=0) * read.integer("moe_intermediate_size"),
        dense_layers=json_dense_layers(config, layers, read.integer("first_k_dense_replace", low=0)),
    )
    attention, delta = _linear_attention(config, layers)
    return DeltaConfig(**{**vars(mixture), "latents": latents, "attention_layers": attention, "delta": delta})


def _without_rope(decoder: DecoderConfig, latents: Latents) -> DecoderConfig:
    """Keys have a part that has no latent, but nothing turns it."""
    return replace(
        decoder,
        attention_scale=latents.head_dim**-0.5,
        rope=RopeConfig("half_split", latents.rope_dim, 10000.0),
        no_rope_layers=tuple(range(decoder.num_hidden_layers)),
    )


def _linear_attention(config: Mapping[str, Any], layers: int) -> tuple[tuple[int, ...], Delta]:
    """Layers that attend, and the heads of the others: in ``linear_attn_config`` layers are counted from 1."""
    linear = config["linear_attn_config"]
    if not isinstance(linear, Mapping):
        raise CheckpointError(f"linear_attn_config is {linear!r:.60}, expected an object")
    read, plain = MetadataReader(linear, ""), MetadataReader(config, "")
    delta = Delta(
        plain.integer("linear_num_heads", read.integer("num_heads", 32)),
        plain.integer("linear_head_dim", read.integer("head_dim", 128)),
        plain.integer("linear_conv_kernel_dim", read.integer("short_conv_kernel_size", 4)),
    )
    full = linear.get("full_attn_layers")
    if full is None:
        return read_layer_types(config, layers, tuple(range(4, layers, 4))), delta
    if not isinstance(full, list) or not all(type(n) is int and 1 <= n <= layers for n in full):
        raise CheckpointError(f"full_attn_layers is {full!r:.60}, expected numbers of {layers} layers")
    return tuple(sorted(layer - 1 for layer in full)), delta


def read_gguf_config(metadata: Mapping[str, Any]) -> DeltaConfig:
    """GGUF's keys. The weights of a token's experts sum to 1, whatever a file says, as llama.cpp has it."""
    read = MetadataReader(metadata, _GGUF)
    latents = read_gguf_latents(read)
    decoder = read_gguf_decoder_config(gguf_latent_keys(metadata, _GGUF, latents), _GGUF, "half_split")
    layers = decoder.num_hidden_layers
    decoder = _without_rope(decoder, latents)
    shared = max(1, read.integer("expert_shared_count", low=0)) * read.same_for_all_layers("expert_feed_forward_length")
    mixture = gguf_mixture(decoder, metadata, _GGUF, Unsaid("sigmoid"), shared_width=shared)
    attention_layers = read_gguf_attention_layers(read, layers)
    delta = read_gguf_delta(read, decoder.num_attention_heads)
    return DeltaConfig(
        **{
            **vars(mixture),
            "norm_topk_prob": True,
            "latents": latents,
            "attention_layers": attention_layers,
            "delta": delta,
        }
    )


def build(config: DeltaConfig) -> Graph:
    """The graph of one step."""
    return KimiLinear(config).model()


ARCHITECTURE = Architecture("kimi_linear", read_config, read_gguf_config, gguf_names(_NAMES), build)
