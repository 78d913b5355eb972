"""A gated DeltaNet as GGUF files have it: its metadata, and the order of heads in its tensors.

In those of Qwen3.5 the value heads that share a key head do not lie side by side: each group of neighbours has one of
every key head. https://github.com/ggml-org/llama.cpp/pull/19468
Those of Qwen3-Next have them in the order of directories, but all queries first, then all keys, values and gates:
directories have these in one matrix, by key heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import UnsupportedModelError
from lutmac.models.delta_net import DeltaNet, HybridConfig

Floats = NDArray[np.float32]
Order = NDArray[np.intp]


def delta_net_metadata(config: HybridConfig) -> dict[str, Any]:
    """Keys without the architecture's prefix. Raises UnsupportedModelError for what they cannot say."""
    net, layers = config.delta_net, config.num_hidden_layers
    if net.key_dim != net.value_dim:
        raise UnsupportedModelError(
            f"GGUF's DeltaNets have keys and values of one size, and this model of {net.key_dim} and {net.value_dim}"
        )
    every = config.attention_layers[0] + 1 if config.attention_layers else layers + 1
    found: dict[str, Any] = {
        "ssm.conv_kernel": net.kernel,
        "ssm.state_size": net.key_dim,
        "ssm.group_count": net.key_heads,
        "ssm.time_step_rank": net.value_heads,
        "ssm.inner_size": net.values,
        "full_attention_interval": every,
        "rope.dimension_sections": np.array(_sections(config.rope.rotary_dim // 2), np.int32),
    }
    if config.attention_layers != tuple(range(every - 1, layers, every)):
        del found["full_attention_interval"]
        found["attention.recurrent_layers"] = np.array(
            [layer not in config.attention_layers for layer in range(layers)]
        )
    return found


def _sections(pairs: int) -> list[int]:
    """How many pairs of a head turn by time, height and width, one of each in turn; in text that is the same."""
    return [(pairs + 2) // 3, (pairs + 1) // 3, pairs // 3, 0]


@dataclass(frozen=True)
class HeadOrder:
    """What becomes of the tensors of a DeltaNet whose value heads lie in groups, by their Hugging Face names.

    tiled: whether each group of neighbours has one of every key head in the file.
    """

    net: DeltaNet
    tiled: bool

    def parts(self, name: str) -> Mapping[str, Order] | None:
        """The matrices as which a joint one is written, and which of its rows each has; None: it is none."""
        if not name.endswith(".linear_attn.in_proj_qkvz.weight"):
            return None
        net = self.net
        shared = net.values // net.key_heads
        sizes = (net.key_dim, net.key_dim, shared, shared)
        rows = np.arange(2 * net.keys + 2 * net.values).reshape(net.key_heads, -1)
        *mixed, gates = (part.reshape(-1) for part in np.split(rows, np.cumsum(sizes)[:-1], axis=1))
        return {name.replace("qkvz", "qkv"): np.concatenate(mixed), name.replace("qkvz", "z"): gates}

    def rows(self, name: str) -> Order | None:
        """The order in which a tensor's rows are written; None: as they are."""
        net, kind = self.net, name.rpartition(".linear_attn.")[2]
        match kind.removesuffix(".weight"):
            case "in_proj_qkv" | "conv1d":
                return np.concatenate([np.arange(2 * net.keys), 2 * net.keys + self._of_heads(net.value_dim)])
            case "in_proj_z":
                return self._of_heads(net.value_dim)
            case "in_proj_a" | "in_proj_b" | "A_log" | "dt_bias":
                return self._of_heads(1)
        return None

    def columns(self, name: str) -> Order | None:
        """The order in which a matrix's columns are written; None: as they are."""
        return self._of_heads(self.net.value_dim) if name.endswith(".linear_attn.out_proj.weight") else None

    def check(self, group: Callable[[int], int]) -> None:
        """Raises UnsupportedModelError where groups of weights, which move as a whole, are not within a head.

        group: of rows of so many weights.
        """
        net, group_size = self.net, group(self.net.values)
        if self.tiled and net.key_heads < net.value_heads and net.value_dim % group_size:
            raise UnsupportedModelError(
                f"GGUF's qwen35 has value heads in another order, and groups of {group_size} weights are not within "
                f"heads of {net.value_dim}: choose a format with smaller groups"
            )

    def vector(self, name: str, values: Floats) -> Floats:
        """A vector in GGUF's order and meaning. values: [width], or of the convolution [channels * kernel]."""
        order = self.rows(name)
        if order is None:
            return values
        ordered = values.reshape(len(order), -1)[order].reshape(-1)
        return -np.exp(ordered) if name.endswith(".A_log") else ordered

    def _of_heads(self, size: int) -> Order:
        net = self.net
        if not self.tiled:
            return np.arange(net.value_heads * size)
        grouped = np.arange(net.value_heads * size).reshape(net.key_heads, -1, size)
        return np.ascontiguousarray(grouped.swapaxes(0, 1)).reshape(-1)
