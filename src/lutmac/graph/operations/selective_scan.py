"""Mamba2's selective state space (Dao and Gu, 2024, https://arxiv.org/abs/2405.21060), in the order of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector
from lutmac.graph.states import Slot

STATE_COLUMNS = 32  # of a head's state that lie together


@dataclass(frozen=True)
class SelectiveScan(Op):
    """For each head, with a state S [state_size, head_dim] that is zero before the first token.

    ``S = decay * S + B outer (dt * x); out = C S + skip * x``, ``dt = softplus(time_step + bias)`` within
    time_step_min and time_step_max (None: no limit), ``decay = exp(rate * dt)``.

    x: inputs [heads, head_dim], B [groups, state_size] and C [groups, state_size], one behind the other; neighbouring
    heads share a group. time_step: a number for each head. rate: [heads], negative; or the logarithm of its magnitude
    (``rate_is_log``).
    """

    state: Slot
    x: Value
    time_step: Value
    rate: Vector
    bias: Vector
    skip: Vector
    out: Value
    heads: int
    groups: int
    state_size: int
    rate_is_log: bool = False
    time_step_min: float = 0.0
    time_step_max: float | None = None
    READS = ("x", "time_step")
    WRITES = ("out",)
    STORES = ("state",)

    @staticmethod
    def slot_bytes(heads: int, state_size: int, head_dim: int) -> int:
        """What it keeps of a sequence: float32, whole blocks of columns."""
        return heads * state_size * -(-head_dim // STATE_COLUMNS) * STATE_COLUMNS * 4

    @property
    def head_dim(self) -> int:
        """Of a head's input and result."""
        return self.out.width // self.heads

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the heads."""
        inputs = self.heads * self.head_dim
        if (self.x.width, self.out.width) != (inputs + 2 * self.groups * self.state_size, inputs):
            yield f"{self.heads} heads with {self.groups} groups of {self.state_size} have other widths"
        if self.heads % self.groups:
            yield f"{self.heads} heads do not share {self.groups} groups"
        if {self.time_step.width, *(vector.width for vector in self.vectors())} != {self.heads}:
            yield "it has other numbers of time steps, rates, biases or skips than of heads"
        if self.state.nbytes != self.slot_bytes(self.heads, self.state_size, self.head_dim):
            yield f"its slot has {self.state.nbytes} bytes"

    def describe(self) -> str:
        """The heads."""
        return f"{self.heads} heads of {self.head_dim}, {self.groups} groups of states of {self.state_size}"

    def reference(self, at: Reference, x: Floats, time_step: Floats) -> Floats:
        """[tokens, width]."""
        count, length = at.tokens.shape
        states = self.groups * self.state_size
        parts = np.split(x.reshape(count, length, -1), [self.out.width, self.out.width + states], axis=-1)
        inputs = parts[0].reshape(count, length, self.heads, self.head_dim)
        group = np.arange(self.heads) // (self.heads // self.groups)
        b, c = (part.reshape(count, length, self.groups, -1)[:, :, group] for part in parts[1:])
        dt = np.logaddexp(0, time_step + at.vector(self.bias.name)).reshape(count, length, self.heads)
        dt = np.clip(dt, self.time_step_min, self.time_step_max)
        rate = at.vector(self.rate.name)
        decay = np.exp(dt * (-np.exp(rate) if self.rate_is_log else rate))
        state = np.zeros((count, self.heads, self.state_size, self.head_dim), x.dtype)
        out = np.empty((count, length, self.heads, self.head_dim), x.dtype)
        for t in range(length):
            state *= decay[:, t, :, None, None]
            state += b[:, t, :, :, None] * (dt[:, t, :, None] * inputs[:, t])[:, :, None, :]
            out[:, t] = np.einsum("shn,shnp->shp", c[:, t], state)
        out += at.vector(self.skip.name)[:, None] * inputs
        return out.reshape(count * length, -1)
