"""Where every value of a graph lies in the arena: values whose lives do not overlap share memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lutmac.graph.ir import Graph, MatMul, RopeStore, Value

ALIGNMENT = 64  # a cache line, and the widest vector


@dataclass(frozen=True)
class Placement:
    """Byte offsets into an arena of ``arena_bytes``.

    buffers: for each value the value that first held its buffer (itself, unless an operation works in place).
    """

    offsets: dict[Value, int]
    buffers: dict[Value, Value]
    arena_bytes: int


@dataclass
class Life:
    """A buffer's size and the first and last operation, by place, that touch it."""

    nbytes: int
    first: int
    last: int

    def overlaps(self, other: Life) -> bool:
        """Whether some operation touches both, or one lives within the other's life."""
        return self.first <= other.last and other.first <= self.last


def buffer_of_values(graph: Graph) -> dict[Value, Value]:
    """For each value, the value whose buffer it takes over: residuals and rotated queries are worked on in place."""
    buffers: dict[Value, Value] = {}
    for op in graph.ops:
        taken_over = {}
        if isinstance(op, MatMul):
            taken_over = {p.out: p.residual for p in op.products if p.residual is not None}
        elif isinstance(op, RopeStore):
            taken_over = {op.out: op.q}
        for value in op.writes():
            source = taken_over.get(value)
            buffers[value] = value if source is None else buffers[source]
    return buffers


def lives(graph: Graph, size: Callable[[Value], int]) -> dict[Value, Life]:
    """The life of each buffer. ``size`` gives the bytes that a value takes."""
    buffers = buffer_of_values(graph)
    found: dict[Value, Life] = {}
    for index, op in enumerate(graph.ops):
        for value in op.reads() + op.writes():
            life = found.setdefault(buffers[value], Life(0, index, index))
            life.last = index
            life.nbytes = max(life.nbytes, size(value))
    return found


def place(graph: Graph, size: Callable[[Value], int]) -> Placement:
    """Places the largest buffers first, each in the lowest gap between those whose lives overlap its own."""
    placed: list[tuple[int, Life]] = []
    starts: dict[Value, int] = {}
    for value, life in sorted(lives(graph, size).items(), key=lambda item: (-item[1].nbytes, item[1].first)):
        life.nbytes = _aligned(life.nbytes)
        start = _lowest_gap(life, placed)
        placed.append((start, life))
        starts[value] = start
    buffers = buffer_of_values(graph)
    offsets = {value: starts[buffer] for value, buffer in buffers.items()}
    return Placement(offsets, buffers, max((start + life.nbytes for start, life in placed), default=0))


def _lowest_gap(life: Life, placed: list[tuple[int, Life]]) -> int:
    start = 0
    for other_start, other in sorted(placed, key=lambda item: item[0]):
        if life.overlaps(other) and other_start < start + life.nbytes:
            start = max(start, other_start + other.nbytes)
    return start


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
