"""Kimi Delta Attention: a gated delta rule whose decay is of each key channel (Kimi Team, 2025).

https://arxiv.org/abs/2510.26692. Ling 3 has it with a bounded decay, and single products where Kimi Linear has two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Value, Vector
from lutmac.graph.operations.causal_conv1d import CausalConv1d
from lutmac.graph.operations.concatenate import Concatenate
from lutmac.graph.operations.gated_delta_rule import GatedDeltaRule
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.states import Slot
from lutmac.models.latent_attention import LatentDecoder, LatentMixtureConfig
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder

GGUF_NAMES: Final = {
    "self_attn.q_conv1d": "ssm_conv1d_q",
    "self_attn.k_conv1d": "ssm_conv1d_k",
    "self_attn.v_conv1d": "ssm_conv1d_v",
    "self_attn.f_a_proj": "ssm_f_a",
    "self_attn.f_b_proj": "ssm_f_b",
    "self_attn.b_proj": "ssm_beta",
    "self_attn.A_log": "ssm_a",
    "self_attn.dt_bias": "ssm_dt.bias",
    "self_attn.g_a_proj": "ssm_g_a",
    "self_attn.g_b_proj": "ssm_g_b",
    "self_attn.o_norm": "ssm_norm",
}
GGUF_GATE: Final = "gate_proj"  # of Ling's attention: directories call it as they do that of the delta rule
# What these families' configurations call what others do by another name.
_OTHER_NAMES: Final = {
    "model_max_length": "max_position_embeddings",
    "moe_renormalize": "norm_topk_prob",
    "num_expert_group": "n_group",
    "num_experts_per_token": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
}


@dataclass(frozen=True)
class Delta:
    """Heads, which have keys and values of one size; the positions that convolutions see.

    lower_bound: of the logarithm of decays, 0 for none. rate_is_log: ``A_log`` holds the logarithm of the decays'
    rates, as its name says; GGUF's holds the rates.
    """

    heads: int
    head_dim: int
    kernel: int
    lower_bound: float = 0.0
    rate_is_log: bool = True

    def __post_init__(self) -> None:
        """Raises UnsupportedModelError for shapes that no loop has."""
        if self.head_dim % 32:
            raise UnsupportedModelError(f"heads of linear attention of {self.head_dim} are not a multiple of 32")
        if not 2 <= self.kernel <= 16:
            raise UnsupportedModelError(f"convolutions over {self.kernel} positions are not supported, 2 to 16 are")
        if self.lower_bound > 0:
            raise UnsupportedModelError(f"a lower bound of decays of {self.lower_bound} is not supported")

    @property
    def width(self) -> int:
        """Of all heads."""
        return self.heads * self.head_dim


@dataclass(frozen=True)
class DeltaConfig(LatentMixtureConfig):
    """A mixture. attention_layers: those with attention over latents; the others have the delta rule."""

    attention_layers: tuple[int, ...] = ()
    delta: Delta = Delta(32, 128, 4)


class DeltaDecoder(MixtureDecoder, LatentDecoder):
    """Attention over latents, or the delta rule, and then experts.

    FORGET, GATE: the products one behind the other that make decays and what gates the result.
    """

    FORGET: ClassVar[tuple[str, ...]] = ("f_a_proj", "f_b_proj")
    GATE: ClassVar[tuple[str, ...]] = ("g_a_proj", "g_b_proj")
    SELECTION_BIASES: ClassVar[tuple[str, ...]] = ("mlp.gate.e_score_correction_bias",)
    config: DeltaConfig

    def __init__(self, config: DeltaConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def attention(self, layer: int, x: Value) -> Value:
        """What mixes positions, of whichever kind the layer is."""
        if layer in self.config.attention_layers:
            return super().attention(layer, x)
        delta, hf, name = self.config.delta, f"model.layers.{layer}.self_attn", f"layers.{layer}"
        mixed = self._queries_keys_values(layer, x)
        beta = self.linear(f"{hf}.b_proj", x, delta.heads, f"{name}.beta")
        alpha = self._through(layer, x, self.FORGET, "forget")
        out = Value(f"{name}.recalled", delta.width)
        state = Slot(f"{name}.delta", GatedDeltaRule.slot_bytes(delta.heads, delta.head_dim, delta.head_dim))
        rate = Vector(f"{hf}.A_log", delta.heads, (delta.heads,) if delta.heads > 1 else ())
        self.ops.append(
            GatedDeltaRule(
                state, mixed, alpha, beta, rate, Vector(f"{hf}.dt_bias", delta.width), out, delta.heads, delta.heads,
                delta.head_dim, delta.rate_is_log, lower_bound=delta.lower_bound,
            )
        )  # fmt: skip
        normed = replace(out, name=f"{name}.recalled_normed")
        self.ops.append(RMSNorm(out, Vector(f"{hf}.o_norm.weight", delta.head_dim), self.config.rms_norm_eps, normed))
        gate = self._through(layer, x, self.GATE, "output_gate")
        gated = self.gated_by("sigmoid", gate, normed, f"{name}.recalled_gate")
        return self.attention_output(layer, gated)

    def _queries_keys_values(self, layer: int, x: Value) -> Value:
        """Side by side, each behind a convolution of its own."""
        delta, hf, name = self.config.delta, f"model.layers.{layer}.self_attn", f"layers.{layer}"
        products = [self.linear(f"{hf}.{part}_proj", x, delta.width, f"{name}.{part}") for part in "qkv"]
        parts = []
        for part, product in zip("qkv", products, strict=True):
            width, kernel = delta.width, delta.kernel
            weight = Vector(f"{hf}.{part}_conv1d.weight", width * kernel, (width, kernel))
            slot = Slot(f"{name}.{part}_conv", CausalConv1d.slot_bytes(width, kernel))
            parts.append(replace(product, name=f"{name}.{part}_convolved"))
            self.ops.append(CausalConv1d(slot, product, weight, parts[-1], kernel))
        mixed = Value(f"{name}.qkv", 3 * delta.width)
        self.ops.append(Concatenate(parts[0], parts[1], mixed, parts[2]))
        return mixed

    def _through(self, layer: int, x: Value, products: tuple[str, ...], name: str) -> Value:
        """Products one behind the other, the last as wide as all heads, the others as one head."""
        delta, hf = self.config.delta, f"model.layers.{layer}.self_attn"
        for index, product in enumerate(products, 1):
            width = delta.width if index == len(products) else delta.head_dim
            x = self.linear(f"{hf}.{product}", x, width, f"layers.{layer}.{name}_{index}")
        return x


def usual_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json by the names that most families use, without what is null."""
    return {_OTHER_NAMES.get(key, key): value for key, value in config.items() if value is not None}


def read_layer_types(config: Mapping[str, Any], layers: int, attends: tuple[int, ...]) -> tuple[int, ...]:
    """The layers with attention: as ``layer_types`` says. attends: those of a configuration that does not say."""
    types = config.get("layer_types")
    if types is None:
        return attends
    if not isinstance(types, list) or len(types) != layers:
        raise CheckpointError(f"layer_types is not a list of {layers} types")
    unknown = sorted(set(map(str, types)) - {"linear_attention", "full_attention"})
    if unknown:
        raise UnsupportedModelError(f"layers of type {unknown[0]!r} are not supported")
    return tuple(layer for layer, kind in enumerate(types) if kind == "full_attention")


def read_gguf_attention_layers(read: MetadataReader, layers: int) -> tuple[int, ...]:
    """Those that have a head of keys."""
    heads = read.for_layers("attention.head_count_kv", layers)
    return tuple(layer for layer, count in enumerate(heads) if count)


def read_gguf_delta(read: MetadataReader, heads: int, lower_bound: float = 0.0) -> Delta:
    """GGUF's keys."""
    head_dim, kernel = read.integer("kda.head_dim"), read.integer("ssm.conv_kernel")
    return Delta(heads, head_dim, kernel, lower_bound, rate_is_log=False)
