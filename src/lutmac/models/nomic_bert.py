"""Nomic's BERT (Nussbaum et al., 2024): a rope, a gate in the MLP, and no biases; or experts in every second layer.

https://arxiv.org/abs/2402.01613, and of experts, as nomic-embed-text-v2-moe has them, https://arxiv.org/abs/2502.07972
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph, Value, Weight
from lutmac.graph.operations.type_embedding import TypeEmbedding
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_json import read_activation
from lutmac.models.encoder import Encoder, EncoderConfig
from lutmac.models.encoder_config import gguf_encoder_config, json_encoder_config
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder

LAYERS = "model.layers"
NORM = "model.embeddings.LayerNorm"
GGUF_NAMES = {
    "model.embeddings.word_embeddings": "token_embd",
    "model.embeddings.token_type_embeddings": "token_types",
    NORM: "token_embd_norm",
    "post_attention_layernorm": "attn_output_norm",
    "post_mlp_layernorm": "layer_output_norm",
    **MIXTURE_NAMES,
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
    "rotary_emb_scale_base": None, "activation_function": "swiglu", "use_rms_norm": False,
}  # fmt: skip
_SUPPORTED_EXPERTS: Mapping[str, Any] = {
    **_SUPPORTED, "activation_function": "gelu", "moe_normalize_expert_weights": False, "expert_choice_router": False,
    "ffn_div": 1, "num_shared_experts": 0,
}  # fmt: skip
_FIRST_STACK = re.compile(r"model\.encoder\.layers\.(\d+)\.mlp\.experts\.mlp\.w([12])\[(\d+):(\d+)\](?:\.T)?")
TRAINED_POSITIONS = 2048
BIAS = "experts.bias"


class NomicBert(Encoder):
    """As transformers names its parts."""

    LAYERS = LAYERS
    PARTS: ClassVar[Mapping[str, str]] = {
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
    PARTS: ClassVar[Mapping[str, str]] = {
        "qkv": "attn.Wqkv",
        "output": "attn.out_proj",
        "attention_norm": "norm1",
        "gate": "mlp.fc12",
        "up": "mlp.fc11",
        "down": "mlp.fc2",
        "mlp_norm": "norm2",
    }


@dataclass(frozen=True)
class NomicMixtureConfig(EncoderConfig, MixtureConfig):
    """Experts in some layers."""


class NomicMixture(MixtureDecoder, NomicBert):
    """Experts without gates, and MLPs without gates in the other layers; by the names that GGUF's have here."""

    NAMES = (ExpertNames("mlp", "up_proj", "up_proj", "down_proj"),)
    PARTS: ClassVar[Mapping[str, str]] = {part: hf for part, hf in NomicBert.PARTS.items() if part != "gate"}
    config: NomicMixtureConfig

    def __init__(self, config: NomicMixtureConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def routed(self, layer: int, x: Value, choices: Value, starts: Value) -> Value:
        """The experts' outputs times their weights."""
        return self.routed_without_gates(layer, x, choices, starts)


class FirstNomicMixture(NomicMixture):
    """As the hub's repositories name them: all experts' matrices lie one below the other, the second of each turned.

    A bias is added to what all experts of a token make together.
    """

    EMBEDDING_NORM = FirstNomicBert.EMBEDDING_NORM
    LAYERS = FirstNomicBert.LAYERS
    NAMES = (ExpertNames("mlp", "w1", "w1", "w2", "router.layer", LAYERS),)
    PARTS: ClassVar[Mapping[str, str]] = {
        **{part: hf for part, hf in FirstNomicBert.PARTS.items() if part != "gate"},
        "up": "mlp.fc1",
    }

    def routed(self, layer: int, x: Value, choices: Value, starts: Value) -> Value:
        """With the bias."""
        out, bias = super().routed(layer, x, choices, starts), f"{self.names.within(layer)}.{BIAS}"
        if not self.has(bias):
            return out
        row = replace(out, name=f"layers.{layer}.experts_bias")
        self.ops.append(TypeEmbedding(Weight(bias, 1, out.width), row))  # a table of one row, that of any token
        return self.add(out, row, f"layers.{layer}.routed_with_bias")

    def expert_weight(self, layer: int, expert: int, matrix: str, shape: tuple[int, int]) -> Weight:
        """A part of all experts' matrices."""
        inner = self.config.moe_intermediate_size
        part_of = Weight.turned_part_of if matrix == "w2" else Weight.part_of
        stored, of_rows = f"{self.names.within(layer)}.experts.mlp.{matrix}", inner * self.config.num_experts
        return part_of(stored, *shape, first_row=expert * inner, of_rows=of_rows)


_FIRST_PARTS = {
    **{first: NomicBert.PARTS[part] for part, first in FirstNomicBert.PARTS.items()},
    **{first: NomicBert.PARTS[part] for part, first in FirstNomicMixture.PARTS.items()},
    "mlp.router.layer": "mlp.gate",
}


def transformers_name(name: str) -> str:
    """What a tensor of the hub's repositories is called in the form of transformers; another name as it is."""
    stack = _FIRST_STACK.fullmatch(name)
    if stack is not None:
        begin, end = int(stack[3]), int(stack[4])
        which = "up_proj" if stack[2] == "1" else "down_proj"
        return f"{LAYERS}.{stack[1]}.mlp.experts.{begin // (end - begin)}.{which}.weight"
    if name.startswith(f"{FirstNomicBert.EMBEDDING_NORM}."):
        return name.replace(FirstNomicBert.EMBEDDING_NORM, NomicBert.EMBEDDING_NORM)
    for first, part in _FIRST_PARTS.items():
        found = re.fullmatch(rf"{re.escape(FirstNomicBert.LAYERS)}\.(\d+)\.{re.escape(first)}\.(.+)", name)
        if found is not None:
            return f"{LAYERS}.{found[1]}.{part}.{found[2]}"
    return name


def read_config(config: Mapping[str, Any]) -> EncoderConfig:
    """The keys of a config.json, of transformers or of the repositories' own code. Raises UnsupportedModelError."""
    every = MetadataReader(config, "").integer("moe_every_n_layers", 0, low=0)
    for key, supported in (_SUPPORTED_EXPERTS if every else _SUPPORTED).items():
        if config.get(key, supported) not in (supported, None):
            raise UnsupportedModelError(f"nomic_bert with {key} {config[key]!r} is not supported, only {supported!r}")
    found = {**DEFAULTS, **{ours: config[key] for key, ours in _FIRST_KEYS.items() if config.get(key) is not None}}
    if "n_positions" in config:  # a rope that grows with the text reaches further; it was trained up to here
        positions = MetadataReader(config, "").integer("n_positions")
        found["max_position_embeddings"] = min(positions, TRAINED_POSITIONS)
    found |= config
    read = MetadataReader(found, "")
    types = read.integer("type_vocab_size", low=0)
    if not every:
        return json_encoder_config(found, activation=read_activation(found), type_vocab_size=types)
    encoder = json_encoder_config(found, activation="gelu", type_vocab_size=types)
    experts = read.integer("num_experts" if "num_experts" in found else "num_local_experts")
    return _with_experts(encoder, experts, read.integer("moe_top_k"), every)


def _with_experts(encoder: EncoderConfig, experts: int, per_token: int, every: int) -> NomicMixtureConfig:
    """Experts as wide as an MLP, in the second layer and each ``every``-th behind it."""
    return NomicMixtureConfig(
        **vars(encoder),
        num_experts=experts,
        num_experts_per_tok=per_token,
        moe_intermediate_size=encoder.intermediate_size,
        norm_topk_prob=False,
        dense_layers=tuple(layer for layer in range(encoder.num_hidden_layers) if layer % every != 1),
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> EncoderConfig:
    """GGUF's keys, under "nomic-bert" or "nomic-bert-moe"."""
    name = str(metadata.get("general.architecture", "nomic-bert"))
    if name == "nomic-bert":
        metadata = {"nomic-bert.rope.freq_base": DEFAULTS["rope_theta"], **metadata}
        return gguf_encoder_config(metadata, name, activation="silu")
    read = MetadataReader(metadata, name)
    encoder = gguf_encoder_config(metadata, name, activation="gelu")
    experts, per_token = read.integer("expert_count"), read.integer("expert_used_count")
    return _with_experts(encoder, experts, per_token, read.integer("moe_every_n_layers"))


def build(config: EncoderConfig) -> Graph:
    """The graph of one step."""
    first = f"{FirstNomicBert.EMBEDDING_NORM}.weight" in config.optional
    if isinstance(config, NomicMixtureConfig):
        return (FirstNomicMixture if first else NomicMixture)(config).model()
    return (FirstNomicBert if first else NomicBert)(config).model()


ARCHITECTURE = Architecture("nomic_bert", read_config, read_gguf_config, gguf_names(GGUF_NAMES, LAYERS), build)
