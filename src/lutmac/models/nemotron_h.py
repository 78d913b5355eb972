"""Nemotron-H and Nemotron 3 (NVIDIA, 2025): each layer is Mamba2, attention, an MLP or experts alone.

https://arxiv.org/abs/2504.03624
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.activation import Activation
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_mixture
from lutmac.models.gguf_names import gguf_names
from lutmac.models.mamba2 import (
    Mamba2Config,
    Mamba2Decoder,
    gguf_mamba_names,
    read_gguf_mamba2,
    read_mamba2,
    refuse_other_mambas,
)
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder

Kind = Literal["mamba", "attention", "mlp", "moe"]
# What layers are called, in hybrid_override_pattern and in layers_block_type on the hub and since transformers 5.
_KINDS: Final[Mapping[str, Kind]] = {
    "M": "mamba", "*": "attention", "-": "mlp", "E": "moe", "mamba": "mamba", "linear_attention": "mamba",
    "attention": "attention", "full_attention": "attention", "mlp": "mlp", "moe": "moe",
}  # fmt: skip
# Newer names of older keys.
_OLDER: Final = {
    "mamba_n_groups": "n_groups", "mamba_d_conv": "conv_kernel", "mamba_dt_min": "time_step_min",
    "attention_head_dim": "head_dim", "rms_norm_eps": "layer_norm_epsilon",
}  # fmt: skip
_MAMBA_KEYS: Final = ("mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel")
# Of experts the width is that of Nemotron 3 Nano's: no kernel has transformers' 7688.
DEFAULTS: Final[Mapping[str, Any]] = {
    "vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 21504, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 4096, "mamba_num_heads": 128,
    "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4, "layer_norm_epsilon": 1e-5,
    "mlp_hidden_act": "relu2", "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712,
}  # fmt: skip
GGUF_NAMES: Final = {
    "norm": "attn_norm",
    "model.norm_f": "output_norm",
    "mixer.q_proj": "attn_q",
    "mixer.k_proj": "attn_k",
    "mixer.v_proj": "attn_v",
    "mixer.qkv_proj": "attn_qkv",
    "mixer.o_proj": "attn_output",
    "mixer.up_proj": "ffn_up",
    "mixer.down_proj": "ffn_down",
    "mixer.gate": "ffn_gate_inp",
    "mixer.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mixer.experts.up_proj": "ffn_up_exps",
    "mixer.experts.down_proj": "ffn_down_exps",
    "mixer.shared_experts.up_proj": "ffn_up_shexp",
    "mixer.shared_experts.down_proj": "ffn_down_shexp",
    "mixer.fc1_latent_proj": "ffn_latent_down",
    "mixer.fc2_latent_proj": "ffn_latent_up",
    **gguf_mamba_names("mixer"),
}


@dataclass(frozen=True)
class NemotronHConfig(Mamba2Config, MixtureConfig):
    """kinds: what each layer is. latent_size: of what experts read and write; 0: that is the hidden size."""

    kinds: tuple[Kind, ...] = ()
    latent_size: int = 0


class NemotronH(MixtureDecoder, Mamba2Decoder):
    """One part to a layer, on the norm of the residual stream and added to it."""

    ATTENTION = "mixer"
    MAMBA = "mixer"
    FINAL_NORM = "model.norm_f"
    NAMES = (ExpertNames("mixer", "up_proj", "up_proj", "down_proj"),)
    SELECTION_BIASES = ("mixer.gate.e_score_correction_bias",)
    config: NemotronHConfig

    def __init__(self, config: NemotronHConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """The layer's part."""
        name = f"layers.{layer}"
        x = self.norm(f"model.{name}.norm", hidden, f"{name}.input")
        match self.config.kinds[layer]:
            case "mamba":
                change = self.mamba(layer, x)
            case "attention":
                change = self.attention(layer, x)
            case _:
                change = self.mlp(layer, x)
        return self.add(hidden, change, f"{name}.hidden")

    def mlp(self, layer: int, x: Value) -> Value:
        """Experts, or an MLP without a gate."""
        if self.config.kinds[layer] == "moe":
            return super().mlp(layer, x)
        return self.plain_mlp(layer, x, "mixer.up_proj", "mixer.down_proj")

    def routed(self, layer: int, x: Value, choices: Value, starts: Value) -> Value:
        """The experts' outputs times their weights; experts have no gate, and may work on fewer numbers."""
        config, name, hf = self.config, f"layers.{layer}", f"model.layers.{layer}.mixer"
        if not config.latent_size:
            return self.routed_without_gates(layer, x, choices, starts)
        x = self.linear(f"{hf}.fc1_latent_proj", x, config.latent_size, f"{name}.latent")
        out = self.routed_without_gates(layer, x, choices, starts)
        return self.linear(f"{hf}.fc2_latent_proj", out, config.hidden_size, f"{name}.routed_up")

    def shared_mlp(self, layer: int, x: Value) -> Value:
        """The MLP that all tokens go through, without a gate."""
        config, name, hf = self.config, f"layers.{layer}.shared", f"model.layers.{layer}.mixer.shared_experts"
        up = self.linear(f"{hf}.up_proj", x, config.shared_expert_intermediate_size, f"{name}_up")
        activated = replace(up, name=f"{name}_activated")
        self.ops.append(Activation(config.activation, up, activated))
        return self.linear(f"{hf}.down_proj", activated, config.hidden_size, f"{name}_mlp")


def read_config(config: Mapping[str, Any]) -> NemotronHConfig:
    """The keys of a config.json, of transformers or of the hub's repositories."""
    older = {_OLDER[key]: value for key, value in config.items() if key in _OLDER}
    config = {**DEFAULTS, **older, **config}
    refuse_other_mambas(config)
    kinds = read_kinds(config)
    read = MetadataReader(config, "")
    width = "intermediate_size" if "mlp" in kinds else "moe_intermediate_size" if "moe" in kinds else "hidden_size"
    values = {
        **config,
        "num_hidden_layers": len(kinds),
        "intermediate_size": config[width],
        "hidden_act": config["mlp_hidden_act"],
        "rms_norm_eps": config["layer_norm_epsilon"],
    }
    decoder = without_rope(read_decoder_config(values))
    # transformers bounds time steps by time_step_min alone; llama.cpp and its converter do not bound them at all.
    mamba = read_mamba2({**config, "time_step_limit": [read.number("time_step_min", 0.001), float("inf")]}, _MAMBA_KEYS)
    return NemotronHConfig(
        **vars(_json_experts(decoder, config, kinds)),
        mamba=mamba,
        kinds=kinds,
        latent_size=read.integer("moe_latent_size", 0, low=0),
    )


def _json_experts(decoder: DecoderConfig, config: Mapping[str, Any], kinds: tuple[Kind, ...]) -> MixtureConfig:
    dense = tuple(layer for layer, kind in enumerate(kinds) if kind != "moe")
    if "moe" not in kinds:
        return MixtureConfig(**vars(decoder), dense_layers=dense)
    shared = MetadataReader(config, "").integer("moe_shared_expert_intermediate_size")
    return json_mixture(decoder, config, scores="sigmoid", shared_width=shared, dense_layers=dense)


def without_rope(decoder: DecoderConfig) -> DecoderConfig:
    """Mamba2 alone tells the order of tokens."""
    return replace(decoder, no_rope_layers=tuple(range(decoder.num_hidden_layers)))


def read_kinds(config: Mapping[str, Any]) -> tuple[Kind, ...]:
    """``layers_block_type`` or ``hybrid_override_pattern``: what each layer is."""
    keys = ("layers_block_type", "layer_types", "hybrid_override_pattern")
    given = next((config[key] for key in keys if config.get(key) is not None), "ME*-")  # transformers' default
    if not isinstance(given, list | str) or not given:
        raise CheckpointError(f"layers_block_type is {given!r:.60}, expected what each layer is")
    unknown = sorted({str(kind) for kind in given} - set(_KINDS))
    if unknown:
        raise UnsupportedModelError(f"layers of type {unknown[0]!r} are not supported")
    return tuple(_KINDS[kind] for kind in given)


def read_gguf_config(metadata: Mapping[str, Any]) -> NemotronHConfig:
    """GGUF's keys, under "nemotron_h" or "nemotron_h_moe".

    A layer has attention where ``attention.head_count_kv`` is not 0, experts or an MLP where ``feed_forward_length`` is
    not, and else Mamba2.
    """
    name = str(metadata.get("general.architecture", "nemotron_h"))
    read = MetadataReader(metadata, name)
    layers = read.integer("block_count") - read.integer("nextn_predict_layers", 0, low=0)
    heads = max(read.for_layers("attention.head_count", layers))
    kv_heads, widths = (
        read.for_layers(key, layers, default)
        for key, default in (("attention.head_count_kv", heads), ("feed_forward_length", 0))
    )
    experts = read.integer("expert_count", 0, low=0)
    part: Kind = "moe" if experts else "mlp"
    kinds: tuple[Kind, ...] = tuple(
        part if width else "attention" if count else "mamba" for width, count in zip(widths, kv_heads, strict=True)
    )
    width = max(widths) or read.integer("embedding_length")
    metadata = {
        **metadata,
        f"{name}.attention.head_count": heads,
        f"{name}.attention.head_count_kv": max(kv_heads) or heads,
        f"{name}.feed_forward_length": width,
    }
    metadata.pop(f"{name}.rope.dimension_count", None)  # the converter writes one, of other heads
    if not read.has("attention.layer_norm_rms_epsilon"):
        metadata[f"{name}.attention.layer_norm_rms_epsilon"] = read.number("attention.layer_norm_epsilon")
    decoder = replace(without_rope(read_gguf_decoder_config(metadata, name, "half_split")), activation="relu_squared")
    dense = tuple(layer for layer, kind in enumerate(kinds) if kind != "moe")
    mixture = MixtureConfig(**vars(decoder))
    if experts:
        shared = read.integer("expert_shared_feed_forward_length", 0, low=0)
        mixture = gguf_mixture(decoder, metadata, name, Unsaid("sigmoid", normalized=False), shared_width=shared)
    return NemotronHConfig(
        **{**vars(mixture), "dense_layers": dense},
        mamba=read_gguf_mamba2(read),
        kinds=kinds,
        latent_size=read.integer("moe_latent_size", 0, low=0),
    )


def build(config: NemotronHConfig) -> Graph:
    """The graph of one step."""
    return NemotronH(config).model()


ARCHITECTURE = Architecture("nemotron_h", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
