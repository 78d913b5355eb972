"""Elementwise activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, unequal_widths

ActivationKind = Literal["silu", "gelu_tanh", "gelu", "relu_squared", "sigmoid", "softplus", "tanh"]
ROWS_AT_ONCE = 2048  # of the reference: temporaries stay small


@dataclass(frozen=True)
class Activation(Op):
    """An elementwise activation; a pass fuses it with the Multiply that reads it."""

    kind: ActivationKind
    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width."""
        yield from unequal_widths(self.out, self.x)

    def describe(self) -> str:
        """Which one."""
        return self.kind

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        return activate(self.kind, x)


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
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(np.float32(0), x),
    "tanh": np.tanh,
}
