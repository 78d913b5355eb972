"""Nomic's BERT (Nussbaum et al., 2024, https://arxiv.org/abs/2402.01613): a rope, a gate in the MLP, and no biases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config_json import read_activation
from lutmac.models.encoder import Encoder, EncoderConfig
from lutmac.models.encoder_config import gguf_encoder_config, json_encoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

LAYERS = "model.layers"
NORM = "model.embeddings.LayerNorm"
GGUF_NAMES = {
    "model.embeddings.word_embeddings": "token_embd",
    "model.embeddings.token_type_embeddings": "token_types",
    NORM: "token_embd_norm",
    "post_attention_layernorm": "attn_output_norm",
    "post_mlp_layernorm": "layer_output_norm",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 30528, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "silu", "max_position_embeddings": 2048, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "rope_theta": 1000.0,
}  # fmt: skip
# Names of the hub's repositories, whose code came with them, for transformers' own.
_FIRST_KEYS: Mapping[str, str] = {
    "n_embd": "hidden_size", "n_head": "num_attention_heads", "n_inner": "intermediate_size",
    "n_layer": "num_hidden_layers", "layer_norm_epsilon": "layer_norm_eps", "rotary_emb_base": "rope_theta",
}  # fmt: skip
# What is not the same in all of them, and what lutmac reads.
_SUPPORTED: Mapping[str, Any] = {
    "prenorm": False, "causal": False, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None, "activation_function": "swiglu", "use_rms_norm": False, "moe_every_n_layers": 0,
}  # fmt: skip
TRAINED_POSITIONS = 2048


class NomicBert(Encoder):
    """As transformers names its parts."""

    LAYERS = LAYERS
    NAMES: ClassVar[Mapping[str, str]] = {
        "qkv": "self_attn.qkv_proj",
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "output": "self_attn.o_proj",
        "attention_norm": "post_attention_layernorm",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
        "mlp_norm": "post_mlp_layernorm",
    }


class FirstNomicBert(NomicBert):
    """As the hub's repositories name them."""

    EMBEDDING_NORM = "model.emb_ln"
    LAYERS = "model.encoder.layers"
    NAMES: ClassVar[Mapping[str, str]] = {
        "qkv": "attn.Wqkv",
        "output": "attn.out_proj",
        "attention_norm": "norm1",
        "gate": "mlp.fc12",
        "up": "mlp.fc11",
        "down": "mlp.fc2",
        "mlp_norm": "norm2",
    }


def transformers_name(name: str) -> str:
    """What transformers calls a tensor of the hub's repositories; another name as it is."""
    if name.startswith(f"{FirstNomicBert.EMBEDDING_NORM}."):
        return name.replace(FirstNomicBert.EMBEDDING_NORM, NomicBert.EMBEDDING_NORM)
    for part, first in FirstNomicBert.NAMES.items():
        found = re.fullmatch(rf"{re.escape(FirstNomicBert.LAYERS)}\.(\d+)\.{re.escape(first)}\.(.+)", name)
        if found is not None:
            return f"{NomicBert.LAYERS}.{found[1]}.{NomicBert.NAMES[part]}.{found[2]}"
    return name


def read_config(config: Mapping[str, Any]) -> EncoderConfig:
    """The keys of a config.json, of transformers or of the repositories' own code. Raises UnsupportedModelError."""
    for key, supported in _SUPPORTED.items():
        if config.get(key, supported) not in (supported, None):
            raise UnsupportedModelError(f"nomic_bert with {key} {config[key]!r} is not supported, only {supported!r}")
    found = {**DEFAULTS, **{ours: config[key] for key, ours in _FIRST_KEYS.items() if config.get(key) is not None}}
    if "n_positions" in config:  # a rope that grows with the text reaches further; it was trained up to here
        positions = MetadataReader(config, "").integer("n_positions")
        found["max_position_embeddings"] = min(positions, TRAINED_POSITIONS)
    found |= config
    types = MetadataReader(found, "").integer("type_vocab_size", low=0)
    return json_encoder_config(found, activation=read_activation(found), type_vocab_size=types)


def read_gguf_config(metadata: Mapping[str, Any]) -> EncoderConfig:
    """GGUF's keys."""
    metadata = {"nomic-bert.rope.freq_base": DEFAULTS["rope_theta"], **metadata}
    return gguf_encoder_config(metadata, "nomic-bert", activation="silu")


def build(config: EncoderConfig) -> Graph:
    """The graph of one step."""
    first = f"{FirstNomicBert.EMBEDDING_NORM}.weight" in config.optional
    return (FirstNomicBert if first else NomicBert)(config).model()


ARCHITECTURE = Architecture("nomic_bert", read_config, read_gguf_config, gguf_names(GGUF_NAMES, LAYERS), build)
