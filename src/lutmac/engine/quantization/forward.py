"""A model's operations in NumPy, for calibration: float32, whole sequences at once, one operation at a time.

Nothing here knows an architecture: what runs is the graph that a model file builds, before any pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import UnsupportedModelError
from lutmac.graph.experts import ExpertGather, ExpertMatMul, ExpertSum, Route
from lutmac.graph.ir import (
    Activation,
    ActivationKind,
    Add,
    Attention,
    Embed,
    GatherOutputs,
    HiddenStates,
    Logits,
    MatMul,
    Multiply,
    Norm,
    Op,
    Rope,
    RopeStore,
    RoundToInt8,
    Value,
)

Floats = NDArray[np.float32]
ROWS_AT_ONCE = 2048  # tokens of an elementwise operation: temporaries stay small


class ParameterSource(Protocol):
    """Where the operations find their weights."""

    def matrix(self, name: str) -> Floats:
        """[M, K]."""

    def vector(self, name: str) -> Floats:
        """[width]."""


@dataclass
class Forward:
    """Runs operations over tokens [sequences, length], all from position 0.

    values: what has been computed and not dropped, by name: [sequences * length, width].
    """

    tokens: NDArray[np.int32]
    parameters: ParameterSource
    values: dict[str, Floats] = field(default_factory=dict)
    _keys: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    def run(self, op: Op) -> None:  # noqa: PLR0912 (one case for each operation)
        """One operation. Logits are not computed. Raises UnsupportedModelError for an operation that is not here."""
        match op:
            case Embed():
                matrix = self.parameters.matrix(op.weight.name)
                self._set(op.out, matrix[self.tokens.reshape(-1)] * np.float32(op.scale))
            case GatherOutputs():
                self._set(op.out, self.value(op.x))
            case Norm():
                assert op.out is not None
                self._set(op.out, self._norm(op))
            case MatMul():
                for product in op.products:
                    out = self.value(product.x) @ self.parameters.matrix(product.weight.name).T
                    if product.bias is not None:
                        out += self.parameters.vector(product.bias.name)
                    self._set(product.out, out)
            case RopeStore():
                self._rope_store(op)
            case Attention():
                self._set(op.out, self._attention(op))
            case Activation():
                self._set(op.out, activate(op.kind, self.value(op.x)))
            case Multiply():
                self._set(op.out, self.value(op.a) * self.value(op.b))
            case Add():
                self._set(op.out, self.value(op.a) + np.float32(op.scale) * self.value(op.b))
            case RoundToInt8():  # what the model was trained with, and calibration does without
                self._set(op.out, self.value(op.x))
            case Route():
                self._route(op)
            case ExpertGather():
                rows = self.value(op.choices)[:, 2 * op.out.per_token :].astype(int)
                gathered = np.empty((rows.size, op.x.width), np.float32)
                gathered[rows] = self.value(op.x)[:, None, :]
                self._set(op.out, gathered)
            case ExpertMatMul():
                x, starts = self.value(op.x), self.value(op.starts)[0].astype(int)
                parts = [
                    x[begin:end] @ self.parameters.matrix(weight.name).T
                    for weight, (begin, end) in zip(op.weights, itertools.pairwise(starts), strict=True)
                ]
                self._set(op.out, np.concatenate(parts))
            case ExpertSum():
                _, shares, rows = np.split(self.value(op.choices), 3, axis=1)
                self._set(op.out, (self.value(op.x)[rows.astype(int)] * shares[:, :, None]).sum(axis=1))
            case Logits() | HiddenStates():
                pass
            case _:
                raise UnsupportedModelError(f"{type(op).__name__} cannot be calibrated; use rtn, ternary or afpq")

    def value(self, value: Value) -> Floats:
        """What an operation has written."""
        return self.values[value.name]

    def _set(self, value: Value, result: Floats) -> None:
        self.values[value.name] = np.ascontiguousarray(result, np.float32)

    def _route(self, op: Route) -> None:
        logits = self.value(op.logits)
        experts = np.argsort(-logits, axis=1, kind="stable")[:, : op.per_token]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        total = np.take_along_axis(shares, experts, axis=1) if op.normalize else shares
        chosen = np.take_along_axis(shares, experts, axis=1) / total.sum(axis=1, keepdims=True)
        order = np.argsort(experts.reshape(-1), kind="stable")
        rows = np.empty(experts.size, np.float32)
        rows[order] = np.arange(experts.size)
        counts = np.bincount(experts.reshape(-1), minlength=logits.shape[1])
        self._set(op.choices, np.concatenate([experts, chosen, rows.reshape(experts.shape)], axis=1))
        self._set(op.starts, np.concatenate([[0], np.cumsum(counts)])[None])

    def _norm(self, op: Norm) -> Floats:
        x, weight = self.value(op.x), self.parameters.vector(op.weight.name) + np.float32(op.weight_bias)
        runs = x.reshape(len(x), -1, len(weight))  # a weight narrower than x norms each run of its width
        mean = np.square(runs, dtype=np.float32).mean(axis=-1, keepdims=True)
        normed: Floats = runs / np.sqrt(mean + np.float32(op.eps)) * weight
        return normed.reshape(x.shape)

    def _rope_store(self, op: RopeStore) -> None:
        count, length = self.tokens.shape
        q = self.value(op.q).reshape(count, length, op.num_heads, op.head_dim)
        k = self.value(op.k).reshape(count, length, op.num_kv_heads, op.head_dim)
        v = self.value(op.v).reshape(count, length, op.num_kv_heads, op.head_dim)
        self._set(op.out, rotate(op.rope, q).reshape(count * length, -1))
        self._keys[op.layer] = rotate(op.rope, k), v

    def _attention(self, op: Attention) -> Floats:
        count, length = self.tokens.shape
        keys, values = self._keys.pop(op.layer)
        q = self.value(op.q).reshape(count, length, op.num_heads, op.head_dim)
        out = np.empty_like(q)
        behind = np.arange(length)[:, None] - np.arange(length)[None, :]
        seen = (behind >= 0) & ((behind < op.window) if op.window else True)
        group = op.num_heads // op.num_kv_heads
        for sequence in range(count):
            for head in range(op.num_heads):
                scores = q[sequence, :, head] @ keys[sequence, :, head // group].T * np.float32(op.scale)
                if op.softcap:
                    scores = np.float32(op.softcap) * np.tanh(scores / np.float32(op.softcap))
                scores = np.where(seen, scores, np.float32(-np.inf))
                shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
                shares /= shares.sum(axis=-1, keepdims=True)
                out[sequence, :, head] = shares @ values[sequence, :, head // group]
        return out.reshape(count * length, -1)


def rotate(rope: Rope, heads: Floats) -> Floats:
    """Rotary embedding of heads [sequences, length, heads, head_dim] at positions 0, 1, …"""
    angles = np.arange(heads.shape[1])[:, None] * np.array(rope.inverse_frequency)
    cosine = (np.cos(angles) * rope.attention_factor).astype(np.float32)[:, None, :]
    sine = (np.sin(angles) * rope.attention_factor).astype(np.float32)[:, None, :]
    half = rope.rotary_dim // 2
    out = heads.copy()
    split = rope.style == "half_split"
    first = np.s_[..., :half] if split else np.s_[..., 0 : rope.rotary_dim : 2]
    second = np.s_[..., half : rope.rotary_dim] if split else np.s_[..., 1 : rope.rotary_dim : 2]
    a, b = heads[first], heads[second]
    out[first], out[second] = a * cosine - b * sine, b * cosine + a * sine
    return out


def activate(kind: ActivationKind, x: Floats) -> Floats:
    """An elementwise activation of rows [n, width]."""
    return np.concatenate([_ACTIVATIONS[kind](x[at : at + ROWS_AT_ONCE]) for at in range(0, len(x), ROWS_AT_ONCE)])


def _sigmoid(x: Floats) -> Floats:
    half: Floats = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
    return half


def _gelu(x: Floats) -> Floats:
    """By erf after Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7."""
    z = np.abs(x) / np.sqrt(2.0)
    t = 1 / (1 + 0.3275911 * z)
    p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - p * np.exp(-z * z))
    return np.asarray(0.5 * x * (1 + erf), np.float32)


_ACTIVATIONS: Mapping[ActivationKind, Callable[[Floats], Floats]] = {
    "silu": lambda x: x * _sigmoid(x),
    "gelu_tanh": lambda x: x * _sigmoid(np.float32(1.5957691216) * x * (1 + np.float32(0.044715) * x * x)),
    "gelu": _gelu,
    "relu_squared": lambda x: np.square(np.maximum(x, 0)),
}
