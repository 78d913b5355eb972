"""Falcon-H1 (TII, 2025): attention and Mamba2 side by side in each layer. https://arxiv.org/abs/2507.22448"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.scale import Scale
from lutmac.models import Architecture
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.mamba2 import (
    Mamba2,
    Mamba2Config,
    Mamba2Decoder,
    gguf_mamba_names,
    read_gguf_mamba2,
    read_mamba2,
)
from lutmac.models.metadata import MetadataReader

GGUF_NAMES: Final = {
    "model.final_layernorm": "output_norm",
    "pre_ff_layernorm.weight": "ffn_norm",  # the one norm without a kind
    "feed_forward.gate_proj": "ffn_gate",
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": "ffn_down",
    **gguf_mamba_names("mamba"),
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "vocab_size": 128000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192,
    "mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2,
    "mamba_d_ssm": 1024,
}  # fmt: skip


@dataclass(frozen=True)
class Multipliers:
    """What a model's directory multiplies; GGUF has these in the matrices.

    attention_in, attention_out, mamba_in, mamba_out: what both read, and what they make. mamba_parts: of what Mamba2's
    first product makes: gate, inputs, B, C and time steps. gate, down: of the MLP.
    """

    attention_in: float = 1.0
    attention_out: float = 1.0
    mamba_in: float = 1.0
    mamba_out: float = 1.0
    mamba_parts: tuple[float, ...] = (1.0,) * 5
    gate: float = 1.0
    down: float = 1.0


@dataclass(frozen=True)
class FalconH1Config(Mamba2Config):
    """Mamba2 and attention. norm_before_gate: where Mamba2 has a norm, its gate comes after it."""

    multipliers: Multipliers = Multipliers()
    norm_before_gate: bool = False


class FalconH1(Mamba2Decoder):
    """Attention and Mamba2 on the same norm of the residual stream, then the MLP."""

    FINAL_NORM = "model.final_layernorm"
    MLP = ("feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj")
    config: FalconH1Config

    def __init__(self, config: FalconH1Config) -> None:
        """As a decoder."""
        super().__init__(config)

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Each part times its multiplier, added to the residual stream."""
        times, name = self.config.multipliers, f"layers.{layer}"
        x = self.norm(f"model.{name}.input_layernorm", hidden, f"{name}.input")
        attended = self.attention(layer, self.scaled(x, times.attention_in, f"{name}.attention_input"))
        mixed = self.mamba(layer, self.scaled(x, times.mamba_in, f"{name}.mamba_input"))
        hidden = self.added(hidden, attended, times.attention_out, f"{name}.hidden_after_attention")
        hidden = self.added(hidden, mixed, times.mamba_out, f"{name}.hidden_after_mamba")
        x = self.norm(f"model.{name}.pre_ff_layernorm", hidden, f"{name}.mlp_input")
        return self.added(hidden, self.mlp(layer, x), times.down, f"{name}.hidden")

    def gated(self, gate: Value, up: Value, name: str) -> Value:
        """activation(gate) * up, the gate times its multiplier."""
        return super().gated(self.scaled(gate, self.config.multipliers.gate, f"{name}.gate_scaled"), up, name)

    def scaled_inputs(self, layer: int, joint: Value) -> Value:
        """Each part of it times its multiplier."""
        mamba, factors = self.config.mamba, self.config.multipliers.mamba_parts
        if set(factors) == {1.0}:
            return joint
        out = replace(joint, name=f"layers.{layer}.mamba_inputs_scaled")
        widths = (mamba.width, mamba.width, mamba.states, mamba.states, mamba.heads)
        self.ops.append(Scale(joint, out, widths=widths, factors=factors))
        return out

    def gated_scan(self, layer: int, scanned: Value, gate: Value) -> Value:
        """The scan's result times its gate, with a norm in models that have one."""
        if not self.has(f"model.layers.{layer}.{self.MAMBA}.norm.weight"):
            return self.gated_by("silu", gate, scanned, f"layers.{layer}.mamba_gate")
        if not self.config.norm_before_gate:
            return super().gated_scan(layer, scanned, gate)
        return self.gated_by("silu", gate, self.group_norm(layer, scanned), f"layers.{layer}.mamba_gate")

    def scaled(self, x: Value, factor: float, name: str) -> Value:
        """X times a factor."""
        if factor == 1.0:
            return x
        out = replace(x, name=name)
        self.ops.append(Scale(x, out, factor))
        return out

    def added(self, hidden: Value, change: Value, factor: float, name: str) -> Value:
        """The residual stream, with the change times a factor."""
        out = replace(hidden, name=name)
        self.ops.append(Add(hidden, change, out, factor))
        return out


def read_config(config: Mapping[str, Any]) -> FalconH1Config:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read = MetadataReader(config, "")
    decoder = read_decoder_config(config)
    # Keys times a number: scores are, too.
    attention_scale = decoder.head_dim**-0.5 * read.number("key_multiplier", 1.0)
    return FalconH1Config(
        **{
            **vars(decoder),
            "attention_scale": attention_scale,
            "embedding_scale": read.number("embedding_multiplier", 1.0),
            "logits_scale": read.number("lm_head_multiplier", 1.0),
        },
        mamba=_json_mamba(config, decoder.hidden_size),
        multipliers=_json_multipliers(config),
        norm_before_gate=bool(config.get("mamba_rms_norm")) and config.get("mamba_norm_before_gate", True) is not False,
    )


def _json_mamba(config: Mapping[str, Any], hidden_size: int) -> Mamba2:
    read = MetadataReader(config, "")
    width = read.integer("mamba_d_ssm", read.integer("mamba_expand") * hidden_size)
    heads = read.integer("mamba_n_heads")
    if config.get("mamba_d_head") in (None, "auto"):
        config = {**config, "mamba_d_head": width // heads}
    mamba = read_mamba2(config)
    if mamba.width != width:
        raise CheckpointError(f"{mamba.heads} Mamba2 heads of size {mamba.head_dim} are not mamba_d_ssm {width} wide")
    return mamba


def _json_multipliers(config: Mapping[str, Any]) -> Multipliers:
    read = MetadataReader(config, "")
    attention_in, attention_out, mamba_in, mamba_out = (
        read.number(f"{name}_multiplier", 1.0) for name in ("attention_in", "attention_out", "ssm_in", "ssm_out")
    )
    gate, down = _numbers(config, "mlp_multipliers", 2)
    parts = _numbers(config, "ssm_multipliers", 5)
    return Multipliers(attention_in, attention_out, mamba_in, mamba_out, parts, gate, down)


def _numbers(config: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    """So many numbers, ones where the key is missing."""
    numbers = config.get(key)
    if numbers is None:
        return (1.0,) * count
    if not isinstance(numbers, list) or len(numbers) != count or not all(type(n) in (int, float) for n in numbers):
        raise CheckpointError(f"{key} is {numbers!r:.60}, expected {count} numbers")
    return tuple(map(float, numbers))


def read_gguf_config(metadata: Mapping[str, Any]) -> FalconH1Config:
    """GGUF's keys."""
    decoder = read_gguf_decoder_config(metadata, "falcon-h1", "half_split")
    return FalconH1Config(**vars(decoder), mamba=read_gguf_mamba2(MetadataReader(metadata, "falcon-h1")))


def build(config: FalconH1Config) -> Graph:
    """The graph of one step."""
    return FalconH1(config).model()


ARCHITECTURE = Architecture("falcon_h1", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
