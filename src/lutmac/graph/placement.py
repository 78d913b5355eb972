"""Where every value of a graph lies in the arena: values whose lives do not overlap share memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from lutmac.graph.experts import ExpertSum
from lutmac.graph.ir import (
    Graph,
    MatMul,
    Norm,
    RopeStore,
    Value,
)

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
        elif isinstance(op, Norm | ExpertSum) and op.out is not None and op.residual is not None:
            taken_over = {op.out: op.residual}
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
    """Places buffers in the order of their lives, each in the lowest gap that the living ones leave."""
    starts: dict[Value, int] = {}
    living: list[tuple[int, Life]] = []  # by start
    arena_bytes = 0
    for value, life in sorted(lives(graph, size).items(), key=lambda item: item[1].first):
        living = [(start, other) for start, other in living if other.last >= life.first]
        start = _lowest_gap(_aligned(life.nbytes), living)
        insort(living, (start, life), key=lambda item: item[0])
        starts[value] = start
        arena_bytes = max(arena_bytes, start + _aligned(life.nbytes))
    buffers = buffer_of_values(graph)
    return Placement({value: starts[buffer] for value, buffer in buffers.items()}, buffers, arena_bytes)


def _lowest_gap(nbytes: int, living: list[tuple[int, Life]]) -> int:
    start = 0
    for other_start, other in living:
        if other_start - start >= nbytes:
            break
        start = other_start + _aligned(other.nbytes)
    return start


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
