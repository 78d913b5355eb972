"""What operations keep for a sequence from step to step. The engine gives it memory and knows nothing more of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """Something kept, by name: ``layers.3.keys_values``. Operations that name an equal state share it."""

    name: str


@dataclass(frozen=True)
class Pages(State):
    """Keys and values of every position, in pages.

    head_dim: of keys. value_dim: of values. window: how many of the last positions are read, 0 for all.
    """

    num_kv_heads: int
    head_dim: int
    value_dim: int
    window: int = 0


@dataclass(frozen=True)
class Slot(State):
    """Something of fixed size, in place of what was kept before. nbytes: a multiple of 64."""

    nbytes: int
