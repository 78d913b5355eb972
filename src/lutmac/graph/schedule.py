"""What the passes make of a graph: calls, one for each operation of the native program.

A call is an operation and what is done with its result at once: it is prepared, added onto an older value, or left to
the product that follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lutmac.graph.ir import Graph, Op, Value, layer_of
from lutmac.graph.states import State


@dataclass(frozen=True)
class Call:
    """An operation, and what is done with its result.

    forms: the result is also written in these forms. plain: whether the result itself is written. residual: a value
    that the result is added onto, in its buffer. together: the call runs side by side with the call before. own: in
    steps of one row this call does nothing, and each thread of the following product makes the forms for itself;
    otherwise the threads would wait for one of them and then fetch the row from its cache.
    """

    op: Op
    forms: tuple[Value, ...] = ()
    plain: bool = True
    residual: Value | None = None
    together: bool = False
    own: bool = False

    def reads(self) -> tuple[Value, ...]:
        """Values that it reads."""
        return self.op.reads() + (() if self.residual is None else (self.residual,))

    def writes(self) -> tuple[Value, ...]:
        """Values that it writes."""
        return (self.op.writes() if self.plain else ()) + self.forms

    @property
    def layer_index(self) -> int | None:
        """The layer it belongs to, None outside of layers."""
        return layer_of(self.writes() or self.reads())

    def taken_over(self) -> dict[Value, Value]:
        """Results that are written into the buffer of a value that is read: {result: that value}."""
        if self.residual is None:
            return self.op.taken_over()
        return {**self.op.taken_over(), self.op.writes()[0]: self.residual}

    def reading(self, substitutes: Mapping[Value, Value]) -> Call:
        """The same call with some of its inputs replaced; the call itself if it reads none of them."""
        if not any(value in substitutes for value in self.reads()):
            return self
        residual = None if self.residual is None else substitutes.get(self.residual, self.residual)
        return replace(self, op=self.op.reading(substitutes), residual=residual)


@dataclass(frozen=True)
class Schedule:
    """Calls in the order of execution."""

    calls: tuple[Call, ...]

    @classmethod
    def of(cls, graph: Graph) -> Schedule:
        """The graph's operations as they are."""
        return cls(tuple(Call(op) for op in graph.ops))

    @classmethod
    def without_holes(cls, calls: Iterable[Call | None]) -> Schedule:
        """A schedule of the calls that are left of a list in which a pass has set some to None."""
        return cls(tuple(call for call in calls if call is not None))

    def readers(self) -> dict[Value, list[int]]:
        """For each value, the calls that read it, by place."""
        found: dict[Value, list[int]] = {}
        for index, call in enumerate(self.calls):
            for value in call.reads():
                found.setdefault(value, []).append(index)
        return found

    def writers(self) -> dict[Value, int]:
        """For each value, the call that writes it, by place."""
        return {value: index for index, call in enumerate(self.calls) for value in call.writes()}

    def end_of_phase(self, index: int) -> int:
        """The index after the last call that runs side by side with this one."""
        end = index + 1
        while end < len(self.calls) and self.calls[end].together:
            end += 1
        return end

    def has_no_wait_behind(self, index: int) -> bool:
        """Whether in steps of one token the next call begins before all tasks of this one are done."""
        if index + 1 == len(self.calls):
            return False
        op, behind = self.calls[index].op, self.calls[index + 1].op
        return op.BY_KEY_HEADS and behind.BY_KEY_HEADS and op.states() == behind.states()

    def states(self) -> dict[str, State]:
        """The states of all operations by name, in the order of the calls."""
        return {state.name: state for call in self.calls for state in call.op.states().values()}
