"""What the threads of an engine's steps did, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutmac.graph.ir import short_name
from lutmac.graph.schedule import Call, Schedule


@dataclass(frozen=True)
class TracedOperation:
    """An operation of the program: its kind, its matrices or else its results, its layer (None outside of layers)."""

    name: str
    detail: str
    layer: int | None


@dataclass(frozen=True)
class Trace:
    """Some steps of a program.

    operations: as the program numbers them. events: [n, 7] int64, as ``_native.Program.take_trace`` gives them.
    """

    operations: tuple[TracedOperation, ...]
    events: NDArray[np.int64]

    @property
    def steps(self) -> NDArray[np.int64]:
        """The events of whole steps, one for each step and thread."""
        return self.events[self.events[:, 1] < 0]

    @property
    def parts(self) -> NDArray[np.int64]:
        """The events of operations."""
        return self.events[self.events[:, 1] >= 0]

    def decoding(self) -> Trace:
        """The trace from the first step of a single token on: without the prompt."""
        single = self.steps[self.steps[:, 3] == 1]
        first = single[:, 4].min() if len(single) else 0
        return Trace(self.operations, self.events[self.events[:, 4] >= first])


def traced_operations(schedule: Schedule) -> tuple[TracedOperation, ...]:
    """The operations of the program that a schedule is compiled to: calls that run side by side are one."""
    groups: list[list[Call]] = []
    for call in schedule.calls:
        if call.together:
            groups[-1].append(call)
        else:
            groups.append([call])
    return tuple(_operation(calls) for calls in groups)


def _operation(calls: list[Call]) -> TracedOperation:
    first = calls[0]
    matrices = [short_name(weight.name) for call in calls for weight in call.op.matrices()]
    results = [short_name(value.name) for value in first.writes()]
    return TracedOperation(first.op.name(), ", ".join(matrices or results), first.layer_index)
