"""Decoders that attend in some layers, with a sigmoid output gate, and have gated DeltaNet in the others.

Gated DeltaNet: Yang et al., 2024, https://arxiv.org/abs/2412.06464
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Value, Vector
from lutmac.graph.operations.causal_conv1d import CausalConv1d
from lutmac.graph.operations.gated_delta_rule import GatedDeltaRule
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.split_groups import SplitGroups
from lutmac.graph.states import Slot
from lutmac.models.config import DecoderConfig
from lutmac.models.decoder import Decoder
from lutmac.models.metadata import MetadataReader

GGUF_NAMES: Final = {
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_qkvz": "ssm_in",
    "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_b": "ssm_beta",
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.conv1d": "ssm_conv1d",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.norm": "ssm_norm",
    "linear_attn.out_proj": "ssm_out",
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 32, "full_attention_interval": 4, "head_dim": 256, "partial_rotary_factor": 0.25,
    "num_attention_heads": 16, "num_key_value_heads": 4, "max_position_embeddings": 32768,
}  # fmt: skip


@dataclass(frozen=True)
class DeltaNet:
    """Heads of a gated DeltaNet, and the positions that its convolution sees.

    tiled: value head h has key head h mod key_heads, as GGUF files of Qwen3.5 have it; else neighbours share one.
    rate_is_log: ``A_log`` holds the logarithm of the decays' rates, as its name says; GGUF's holds the rates.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int
    tiled: bool = False
    rate_is_log: bool = True

    def __post_init__(self) -> None:
        """Raises CheckpointError for heads that no model has, UnsupportedModelError for shapes that no loop has."""
        if self.value_heads % self.key_heads:
            raise CheckpointError(
                f"{self.value_heads} value heads of linear attention are not a multiple of {self.key_heads} key heads"
            )
        if self.key_dim % 2:
            raise UnsupportedModelError(f"key heads of linear attention of size {self.key_dim} are not supported")
        if self.values % 32:
            raise UnsupportedModelError(
                f"{self.value_heads} value heads of size {self.value_dim} are {self.values} wide, not a multiple of 32"
            )
        if not 2 <= self.kernel <= 16:
            raise UnsupportedModelError(f"convolutions over {self.kernel} positions are not supported, 2 to 16 are")

    @property
    def keys(self) -> int:
        """Width of all key heads."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Width of all value heads."""
        return self.value_heads * self.value_dim


@dataclass(frozen=True)
class HybridConfig(DecoderConfig):
    """A decoder. attention_layers: those with attention; the others have a gated DeltaNet."""

    attention_layers: tuple[int, ...] = ()
    delta_net: DeltaNet = DeltaNet(16, 32, 128, 128, 4)


class HybridDecoder(Decoder):
    """Attention, or a gated DeltaNet, and then the MLP."""

    config: HybridConfig

    def __init__(self, config: HybridConfig) -> None:
        """As a decoder."""
        super().__init__(config)
        self._gates: dict[int, Value] = {}

    def attention(self, layer: int, x: Value) -> Value:
        """What mixes positions, of whichever kind the layer is."""
        return super().attention(layer, x) if layer in self.config.attention_layers else self.delta_net(layer, x)

    def query_width(self, layer: int) -> int:
        """Of queries and gates: twice that of heads."""
        return 2 * super().query_width(layer)

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Queries without their gates, which stand behind the query of each head."""
        joint, k, v = super().queries_keys_values(layer, x)
        head_dim, width = self.config.head_dim, joint.width // 2
        q, gate = Value(f"layers.{layer}.queries", width), Value(f"layers.{layer}.output_gate", width)
        self.ops.append(SplitGroups(joint, (head_dim, head_dim), q, gate))
        self._gates[layer] = gate
        return q, k, v

    def gated_attention(self, layer: int, x: Value, attended: Value) -> Value:
        """What the gates leave of it."""
        return self.gated_by("sigmoid", self._gates[layer], attended, f"layers.{layer}.attended_gate")

    def delta_net(self, layer: int, x: Value) -> Value:
        """Convolution, delta rule, norm of each head, gate, product."""
        net, hf, name = self.config.delta_net, f"model.layers.{layer}.linear_attn", f"layers.{layer}"
        mixed, z = self._queries_keys_values_and_gate(layer, x)
        beta, alpha = self._betas_and_alphas(layer, x)
        channels = mixed.width
        kernel = Vector(f"{hf}.conv1d.weight", channels * net.kernel, (channels, net.kernel))
        convolved, slot = Value(f"{name}.convolved", channels), CausalConv1d.slot_bytes(channels, net.kernel)
        self.ops.append(CausalConv1d(Slot(f"{name}.conv", slot), mixed, kernel, convolved, net.kernel))
        out = Value(f"{name}.recalled", net.values)
        state = Slot(f"{name}.delta", GatedDeltaRule.slot_bytes(net.value_heads, net.key_dim, net.value_dim))
        rate, bias = Vector(f"{hf}.A_log", net.value_heads), Vector(f"{hf}.dt_bias", net.value_heads)
        self.ops.append(
            GatedDeltaRule(
                state, convolved, alpha, beta, rate, bias, out, net.key_heads, net.value_heads, net.key_dim,
                net.rate_is_log, net.tiled,
            )
        )  # fmt: skip
        normed = replace(out, name=f"{name}.recalled_normed")
        self.ops.append(RMSNorm(out, Vector(f"{hf}.norm.weight", net.value_dim), self.config.rms_norm_eps, normed))
        gated = self.gated_by("silu", z, normed, f"{name}.recalled_gate")
        return self.linear(f"{hf}.out_proj", gated, self.config.hidden_size, f"{name}.mixed")

    def _queries_keys_values_and_gate(self, layer: int, x: Value) -> tuple[Value, Value]:
        net, hf, name = self.config.delta_net, f"model.layers.{layer}.linear_attn", f"layers.{layer}"
        channels = 2 * net.keys + net.values
        if not self.has(f"{hf}.in_proj_qkvz.weight"):
            z_name = f"{name}.z"
            return self.linear(f"{hf}.in_proj_qkv", x, channels, f"{name}.qkv"), self.linear(
                f"{hf}.in_proj_z", x, net.values, z_name
            )
        joint = self.linear(f"{hf}.in_proj_qkvz", x, channels + net.values, f"{name}.qkvz")
        values = net.values // net.key_heads
        qkv, z = Value(f"{name}.qkv", channels), Value(f"{name}.z", net.values)
        self.ops.append(SplitGroups(joint, (net.key_dim, net.key_dim, values, values), qkv, z))
        return qkv, z

    def _betas_and_alphas(self, layer: int, x: Value) -> tuple[Value, Value]:
        net, hf, name = self.config.delta_net, f"model.layers.{layer}.linear_attn", f"layers.{layer}"
        heads = net.value_heads
        if not self.has(f"{hf}.in_proj_ba.weight"):
            beta = self.linear(f"{hf}.in_proj_b", x, heads, f"{name}.beta")
            return beta, self.linear(f"{hf}.in_proj_a", x, heads, f"{name}.alpha")
        joint = self.linear(f"{hf}.in_proj_ba", x, 2 * heads, f"{name}.beta_and_alpha")
        beta, alpha = Value(f"{name}.beta", heads), Value(f"{name}.alpha", heads)
        shared = heads // net.key_heads
        self.ops.append(SplitGroups(joint, (shared, shared), beta, alpha))
        return beta, alpha


def read_delta_net(config: Mapping[str, Any]) -> DeltaNet:
    """The keys of a config.json."""
    read = MetadataReader(config, "")
    return DeltaNet(
        read.integer("linear_num_key_heads"),
        read.integer("linear_num_value_heads"),
        read.integer("linear_key_head_dim"),
        read.integer("linear_value_head_dim"),
        read.integer("linear_conv_kernel_dim"),
    )


def read_attention_layers(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """``layer_types``, or every ``full_attention_interval``-th layer."""
    types = config.get("layer_types")
    if types is None:
        every = MetadataReader(config, "").integer("full_attention_interval")
        return tuple(range(every - 1, layers, every))
    if not isinstance(types, list) or len(types) != layers:
        raise CheckpointError(f"layer_types is not a list of {layers} types")
    unknown = sorted(set(map(str, types)) - {"linear_attention", "full_attention"})
    if unknown:
        raise UnsupportedModelError(f"layers of type {unknown[0]!r} are not supported")
    return tuple(layer for layer, kind in enumerate(types) if kind == "full_attention")


def read_gguf_delta_net(read: MetadataReader, *, tiled: bool) -> DeltaNet:
    """GGUF's keys, those of state-space models."""
    value_heads, inner = read.integer("ssm.time_step_rank"), read.integer("ssm.inner_size")
    if inner % value_heads:
        raise CheckpointError(f"{read.prefix}.ssm.inner_size {inner} is not a multiple of {value_heads} value heads")
    return DeltaNet(
        read.integer("ssm.group_count"),
        value_heads,
        read.integer("ssm.state_size"),
        inner // value_heads,
        read.integer("ssm.conv_kernel"),
        tiled=tiled,
        rate_is_log=False,
    )


def read_gguf_attention_layers(read: MetadataReader, layers: int) -> tuple[int, ...]:
    """``attention.recurrent_layers`` has a truth for each layer; without it every n-th layer attends."""
    recurrent: Any = read.metadata.get(f"{read.prefix}.attention.recurrent_layers")
    if recurrent is None:
        every = read.integer("full_attention_interval", 4)
        return tuple(range(every - 1, layers, every))
    if not hasattr(recurrent, "__len__") or len(recurrent) < layers:
        raise CheckpointError(f"metadata {read.prefix}.attention.recurrent_layers is not for {layers} layers")
    return tuple(layer for layer in range(layers) if not recurrent[layer])
