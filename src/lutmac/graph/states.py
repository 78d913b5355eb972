"""States: what operations keep for a sequence from step to step. The engine only gives them memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """A state, by name: ``layers.3.keys_values``. Operations that name the same state share it."""

    name: str


@dataclass(frozen=True)
class Pages(State):
    """Keys and values of all positions, in pages.

    head_dim: of keys. value_dim: of values. window: how many of the last positions are read, 0 for all. latent: a
    value is the first value_dim floats of its key, and both are held once (DeepSeek-V2,
    https://arxiv.org/abs/2405.04434).
    """

    num_kv_heads: int
    head_dim: int
    value_dim: int
    window: int = 0
    latent: bool = False


@dataclass(frozen=True)
class Slot(State):
    """A state of fixed size that is overwritten in each step. nbytes: a multiple of 64."""

    nbytes: int
