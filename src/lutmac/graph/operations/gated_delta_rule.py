"""The gated delta rule (Yang et al., 2024, https://arxiv.org/abs/2412.06464), in the order of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector
from lutmac.graph.states import Slot

NORM_EPS = 1e-6
STATE_COLUMNS = 32  # of a head's state that lie together


@dataclass(frozen=True)
class GatedDeltaRule(Op):
    """For each value head, with a state S [key_dim, value_dim] that is zero before the first token.

    ``S = decay * S; S = S + k outer beta * (v - k S); out = q S``, q and k normed to length 1 (eps 1e-6 under the
    root), q times ``1 / sqrt(key_dim)``, ``decay = exp(rate * softplus(alpha + bias))``, beta through a sigmoid.

    x: queries and keys [key_heads, key_dim], values [value_heads, value_dim], one behind the other. alpha: a number for
    each value head (Qwen3.5), or for each key channel of one (Kimi Linear, https://arxiv.org/abs/2510.26692).
    rate: [value_heads], negative; or the logarithm of its magnitude (``rate_is_log``). lower_bound: below 0 where the
    decay has a bound, and then it is ``exp(lower_bound * sigmoid(rate * (alpha + bias)))`` with a positive rate (Ling
    3, https://huggingface.co/inclusionAI). tiled: value head h has key head
    h mod key_heads, as in GGUF; else neighbours share one.
    """

    state: Slot
    x: Value
    alpha: Value
    beta: Value
    rate: Vector
    bias: Vector
    out: Value
    key_heads: int
    value_heads: int
    key_dim: int
    rate_is_log: bool = False
    tiled: bool = False
    lower_bound: float = 0.0
    READS = ("x", "alpha", "beta")
    WRITES = ("out",)
    STORES = ("state",)

    @staticmethod
    def slot_bytes(value_heads: int, key_dim: int, value_dim: int) -> int:
        """What it keeps of a sequence: float32, whole blocks of columns."""
        return value_heads * key_dim * -(-value_dim // STATE_COLUMNS) * STATE_COLUMNS * 4

    @property
    def value_dim(self) -> int:
        """Of a value head."""
        return self.out.width // self.value_heads

    def faults(self) -> Iterator[str]:
        """Widths that are not those of the heads."""
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        if (self.x.width, self.out.width) != (2 * keys + values, values) or self.value_heads % self.key_heads:
            yield f"{self.value_heads} heads over {self.key_heads} of {self.key_dim} have other widths"
        if self.alpha.width not in (self.value_heads, self.value_heads * self.key_dim):
            yield f"its alpha is {self.alpha.width} wide"
        if (self.beta.width, self.rate.width, self.bias.width) != (*2 * (self.value_heads,), self.alpha.width):
            yield "it has other numbers of betas, rates or biases than of heads"
        if self.state.nbytes != self.slot_bytes(self.value_heads, self.key_dim, self.value_dim):
            yield f"its slot has {self.state.nbytes} bytes"

    def describe(self) -> str:
        """The heads."""
        order = " in tiles" if self.tiled and self.key_heads < self.value_heads else ""
        bound = f", decays of at least e^{self.lower_bound:g}" if self.lower_bound else ""
        return f"{self.value_heads} heads of {self.value_dim} over {self.key_heads} of {self.key_dim}{order}{bound}"

    def reference(self, at: Reference, x: Floats, alpha: Floats, beta: Floats) -> Floats:
        """[tokens, width]."""
        count, length = at.tokens.shape
        q, k, v = self._heads(x, count, length)
        decay = self._decays(at, alpha).reshape(count, length, self.value_heads, -1)
        learned = (1 / (1 + np.exp(-beta))).reshape(count, length, self.value_heads, 1)
        state = np.zeros((count, self.value_heads, self.key_dim, self.value_dim), x.dtype)
        out = np.empty((count, length, self.value_heads, self.value_dim), x.dtype)
        for t in range(length):
            state *= decay[:, t, :, :, None]
            change = (v[:, t] - np.einsum("shk,shkv->shv", k[:, t], state)) * learned[:, t]
            state += k[:, t, :, :, None] * change[:, :, None, :]
            out[:, t] = np.einsum("shk,shkv->shv", q[:, t], state)
        return out.reshape(count * length, -1)

    def _heads(self, x: Floats, count: int, length: int) -> tuple[Floats, Floats, Floats]:
        """Normed queries and keys of each value head, and values: [sequences, length, heads, size]."""
        keys = self.key_heads * self.key_dim
        q, k, v = np.split(x.reshape(count, length, -1), [keys, 2 * keys], axis=-1)
        heads = np.arange(self.value_heads)
        shared = heads % self.key_heads if self.tiled else heads // (self.value_heads // self.key_heads)
        q, k = (_normed(part.reshape(count, length, self.key_heads, -1))[:, :, shared] for part in (q, k))
        return q * np.float32(self.key_dim**-0.5), k, v.reshape(count, length, self.value_heads, -1)

    def _decays(self, at: Reference, alpha: Floats) -> Floats:
        rate, changed = at.vector(self.rate.name), alpha + at.vector(self.bias.name)
        if self.rate_is_log:
            rate = np.exp(rate) if self.lower_bound else -np.exp(rate)
        rate = np.repeat(rate, self.alpha.width // self.value_heads)
        if self.lower_bound:
            bounded: Floats = np.exp(np.float32(self.lower_bound) / (1 + np.exp(-rate * changed)))
            return bounded
        decays: Floats = np.exp(rate * np.logaddexp(0, changed))
        return decays


def _normed(heads: Floats) -> Floats:
    normed: Floats = heads / np.sqrt(np.square(heads).sum(axis=-1, keepdims=True) + np.float32(NORM_EPS))
    return normed
