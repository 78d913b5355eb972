"""From a schedule's calls to the native program's operations, one to one: names and fields go over as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.graph.ir import Value, Vector, Weight
from lutmac.graph.schedule import Call
from lutmac.graph.states import State


@dataclass
class Parameters:
    """The packed matrices, float32 vectors and int32 permutations (orders) that a graph names."""

    matrices: dict[str, _native.Matrix] = field(default_factory=dict)
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    orders: dict[str, NDArray[np.int32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Lowering:
    """Adds calls to a program. offsets: where each value lies in the arena. states: the number of each, by name."""

    program: _native.Program
    parameters: Parameters
    offsets: Mapping[Value, int]
    states: Mapping[str, int]

    def lower(self, call: Call) -> None:
        """Adds one. Raises ValueError where the native side finds a fault."""
        given = self._fields(call.op, without=() if call.plain else call.op.WRITES)
        if call.forms:
            given["forms"] = [self._native(form) for form in call.forms]
        if call.residual is not None:
            given["accumulate"] = True
        if call.own:
            given["own"] = True
        self.program.add(call.op.name(), given, together=call.together)

    def _fields(self, record: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in (entry.name for entry in fields(record) if entry.name not in without):
            value = getattr(record, name)
            if is_dataclass(value) and not isinstance(value, Value | Weight | Vector | State):
                found |= self._fields(value)
            elif value is not None:
                found[name] = self._native(value)
        return found

    def _native(self, value: Any) -> Any:
        match value:
            case Value():
                order = None if value.order is None else self.parameters.orders[value.order]
                return _native.Buffer(
                    offset=self.offsets[value], form=value.form, width=value.width, outputs=value.rows == "outputs",
                    per_token=value.per_token, order=order,
                )  # fmt: skip
            case Weight():
                return self.parameters.matrices[value.name]
            case Vector():
                return self.parameters.vectors[value.name]
            case State():
                return _native.State(self.states[value.name])
            case tuple():
                numbers = value and isinstance(value[0], float)
                return np.asarray(value, np.float32) if numbers else [self._native(item) for item in value]
        return value
