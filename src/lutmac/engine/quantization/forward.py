"""A model's operations in NumPy, for calibration: float32, whole sequences at once, one operation at a time.

What runs is the graph that a model file builds, before any pass, by the reference that each operation has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac.graph.ir import Floats, Op, Value


class ParameterSource(Protocol):
    """Where the operations find their weights."""

    def matrix(self, name: str) -> Floats:
        """[M, K]."""

    def vector(self, name: str) -> Floats:
        """[width]."""


@dataclass
class Forward:
    """Runs operations over tokens [sequences, length], all from position 0.

    values: what has been computed and not dropped, by name: [sequences * length, width]. kept: states, by name.
    """

    tokens: NDArray[np.int32]
    parameters: ParameterSource
    values: dict[str, Floats] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def run(self, op: Op) -> None:
        """One operation. Logits are not computed."""
        results = op.reference(self, *(self.value(value) for value in op.reads()))
        for value, result in zip(op.writes(), results if isinstance(results, tuple) else (results,), strict=True):
            self.values[value.name] = np.ascontiguousarray(result, np.float32)

    def value(self, value: Value) -> Floats:
        """What an operation has written."""
        return self.values[value.name]

    def matrix(self, name: str) -> Floats:
        """[M, K]."""
        return self.parameters.matrix(name)

    def vector(self, name: str) -> Floats:
        """[width]."""
        return self.parameters.vector(name)
