"""Decoders with Mamba2's selective state spaces.

Dao and Gu, 2024, https://arxiv.org/abs/2405.21060
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isinf
from typing import Any, ClassVar, Final

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Value, Vector
from lutmac.graph.operations.causal_conv1d import CausalConv1d
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.selective_scan import SelectiveScan
from lutmac.graph.operations.slice import Slice
from lutmac.graph.states import Slot
from lutmac.models.config import DecoderConfig
from lutmac.models.decoder import Decoder
from lutmac.models.metadata import MetadataReader


def gguf_mamba_names(part: str) -> dict[str, str]:
    """GGUF's names of a Mamba2 layer's tensors. part: what Hugging Face calls it in a layer."""
    return {
        f"{part}.in_proj": "ssm_in",
        f"{part}.conv1d": "ssm_conv1d",
        f"{part}.dt_bias": "ssm_dt.bias",
        f"{part}.A_log": "ssm_a",
        f"{part}.D": "ssm_d",
        f"{part}.norm": "ssm_norm",
        f"{part}.out_proj": "ssm_out",
    }


@dataclass(frozen=True)
class Mamba2:
    """A selective state space: heads of inputs, which share B and C in groups, and the positions its convolution sees.

    rate_is_log: ``A_log`` holds the logarithm of the decays' rates, as its name says; GGUF's holds the rates.
    time_step_min, time_step_max: bounds of a token's time step; None: none.
    """

    heads: int
    head_dim: int
    groups: int
    state_size: int
    kernel: int
    rate_is_log: bool = True
    time_step_min: float = 0.0
    time_step_max: float | None = None

    def __post_init__(self) -> None:
        """Raises CheckpointError for heads that no model has, UnsupportedModelError for shapes that no loop has."""
        if self.heads % self.groups:
            raise CheckpointError(f"{self.heads} Mamba2 heads are not a multiple of {self.groups} groups")
        if self.width % 32:
            raise UnsupportedModelError(
                f"{self.heads} Mamba2 heads of size {self.head_dim} are {self.width} wide, not a multiple of 32"
            )
        if not 2 <= self.kernel <= 16:
            raise UnsupportedModelError(f"convolutions over {self.kernel} positions are not supported, 2 to 16 are")

    @property
    def width(self) -> int:
        """Of all heads."""
        return self.heads * self.head_dim

    @property
    def states(self) -> int:
        """Width of B, and of C."""
        return self.groups * self.state_size

    @property
    def channels(self) -> int:
        """What the convolution works on: inputs, B and C."""
        return self.width + 2 * self.states


@dataclass(frozen=True)
class Mamba2Config(DecoderConfig):
    """A decoder with Mamba2."""

    mamba: Mamba2 = Mamba2(128, 64, 1, 128, 4)


class Mamba2Decoder(Decoder):
    """Adds Mamba2. MAMBA: what it is called in a layer."""

    MAMBA: ClassVar[str] = "mamba"
    config: Mamba2Config

    def __init__(self, config: Mamba2Config) -> None:
        """As a decoder."""
        super().__init__(config)

    def mamba(self, layer: int, x: Value) -> Value:
        """Product, convolution, scan, gate and norm, product."""
        mamba, hf, name = self.config.mamba, f"model.layers.{layer}.{self.MAMBA}", f"layers.{layer}"
        gate, mixed, time_step = self.mamba_inputs(layer, x)
        kernel = Vector(f"{hf}.conv1d.weight", mamba.channels * mamba.kernel, (mamba.channels, mamba.kernel))
        conv = Slot(f"{name}.conv", CausalConv1d.slot_bytes(mamba.channels, mamba.kernel))
        convolved, bias = replace(mixed, name=f"{name}.convolved"), self.bias(f"{hf}.conv1d", mamba.channels)
        self.ops.append(CausalConv1d(conv, mixed, kernel, convolved, mamba.kernel, bias))
        state = Slot(f"{name}.state", SelectiveScan.slot_bytes(mamba.heads, mamba.state_size, mamba.head_dim))
        heads = mamba.heads
        rate, bias, skip = (Vector(f"{hf}.{which}", heads, _shape(heads)) for which in ("A_log", "dt_bias", "D"))
        out = replace(gate, name=f"{name}.scanned")
        self.ops.append(
            SelectiveScan(
                state, convolved, time_step, rate, bias, skip, out, heads, mamba.groups, mamba.state_size,
                mamba.rate_is_log, mamba.time_step_min, mamba.time_step_max,
            )
        )  # fmt: skip
        gated = self.gated_scan(layer, out, gate)
        return self.linear(f"{hf}.out_proj", gated, self.config.hidden_size, f"{name}.mixed")

    def mamba_inputs(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Gate, what the convolution reads, and time steps: rows of one matrix, one behind the other."""
        mamba, name = self.config.mamba, f"layers.{layer}"
        hf = f"model.{name}.{self.MAMBA}.in_proj"
        joint = self.linear(hf, x, mamba.width + mamba.channels + mamba.heads, f"{name}.mamba_inputs")
        joint = self.scaled_inputs(layer, joint)
        widths = {"gate": mamba.width, "mixed_in": mamba.channels, "time_step": mamba.heads}
        parts, first = [], 0
        for part, width in widths.items():
            parts.append(Value(f"{name}.mamba_{part}", width))
            self.ops.append(Slice(joint, first, parts[-1]))
            first += width
        gate, mixed, time_step = parts
        return gate, mixed, time_step

    def scaled_inputs(self, layer: int, joint: Value) -> Value:
        """What the first product makes, times the model's multipliers where it has any."""
        return joint

    def gated_scan(self, layer: int, scanned: Value, gate: Value) -> Value:
        """The scan's result times its gate, each group of it normed."""
        return self.group_norm(layer, self.gated_by("silu", gate, scanned, f"layers.{layer}.mamba_gate"))

    def group_norm(self, layer: int, x: Value) -> Value:
        """RMSNorm of each group of heads, by its own part of the weight."""
        hf, segment = f"model.layers.{layer}.{self.MAMBA}.norm.weight", x.width // self.config.mamba.groups
        out = replace(x, name=f"layers.{layer}.mamba_normed")
        weight = Vector(hf, x.width, _shape(self.config.mamba.groups, segment))
        self.ops.append(RMSNorm(x, weight, self.config.rms_norm_eps, out, segment=segment))
        return out


def _shape(*sizes: int) -> tuple[int, ...]:
    """Of a tensor less dimensions of one: GGUF has vectors of heads in two dimensions, and norms of groups."""
    return tuple(size for size in sizes if size != 1)


MAMBA_KEYS: Final = ("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv")
"""What most families call heads, their size, groups, size of a state and the convolution's positions."""


def read_mamba2(config: Mapping[str, Any], keys: tuple[str, ...] = MAMBA_KEYS) -> Mamba2:
    """A config.json with the defaults of the family. keys: the family's names, in the order of MAMBA_KEYS."""
    read = MetadataReader(config, "")
    low, high = _time_step_limit(config.get("time_step_limit"))
    heads, head_dim, groups, state_size, kernel = (read.integer(key) for key in keys)
    return Mamba2(heads, head_dim, groups, state_size, kernel, time_step_min=low, time_step_max=high)


def _time_step_limit(given: Any) -> tuple[float, float | None]:
    """The bounds that ``time_step_limit`` has; transformers 5 writes infinity as an object."""
    if given is None:
        return 0.0, None
    if not isinstance(given, list) or len(given) != 2:
        raise CheckpointError(f"time_step_limit is {given!r:.60}, expected two numbers")
    try:
        low, high = (float(value["__float__"] if isinstance(value, Mapping) else value) for value in given)
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"time_step_limit is {given!r:.60}, expected two numbers") from None
    if not 0 <= low <= high or isinf(low):
        raise CheckpointError(f"time_step_limit is {given!r:.60}, expected two numbers, the lower one first")
    return low, None if isinf(high) else high


def refuse_other_mambas(config: Mapping[str, Any]) -> None:
    """Raises UnsupportedModelError for an activation of the convolution that no operation has."""
    name = config.get("mamba_hidden_act") or "silu"
    if name not in ("silu", "swish"):
        raise UnsupportedModelError(f"Mamba2 with the activation {name!r:.40} is not supported; supported: silu")


def read_gguf_mamba2(read: MetadataReader) -> Mamba2:
    """GGUF's keys, those of state-space models."""
    heads, width = read.integer("ssm.time_step_rank"), read.integer("ssm.inner_size")
    if width % heads:
        raise CheckpointError(f"{read.prefix}.ssm.inner_size {width} is not a multiple of {heads} heads")
    return Mamba2(
        heads,
        width // heads,
        read.integer("ssm.group_count"),
        read.integer("ssm.state_size"),
        read.integer("ssm.conv_kernel"),
        rate_is_log=False,
    )
