"""Places the values of a schedule in the arena. Values whose lives do not overlap share memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from lutmac.graph.ir import Value
from lutmac.graph.schedule import Schedule

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
    """The size of a buffer, and the first and last call that touch it."""

    nbytes: int
    first: int
    last: int

    def overlaps(self, other: Life) -> bool:
        """Whether a call touches both, or one buffer is used while the other lives."""
        return self.first <= other.last and other.first <= self.last


def buffer_of_values(schedule: Schedule) -> dict[Value, Value]:
    """For each value, the value whose buffer it uses: residuals and rotated queries are changed in place."""
    buffers: dict[Value, Value] = {}
    for call in schedule.calls:
        taken_over = call.taken_over()
        for value in call.writes():
            source = taken_over.get(value)
            buffers[value] = value if source is None else buffers[source]
    return buffers


def lives(schedule: Schedule, size: Callable[[Value], int]) -> dict[Value, Life]:
    """The life of each buffer. ``size`` gives the bytes of a value.

    Calls that run side by side count as one. If a product's threads make their own forms, the values that these are
    made of live until the product is done. Where there is no wait behind a call, its values live until the next ends.
    """
    buffers = buffer_of_values(schedule)
    found: dict[Value, Life] = {}
    first = 0
    for index, call in enumerate(schedule.calls):
        first = first if call.together else index
        reaches = index + 1 if call.own or schedule.has_no_wait_behind(index) else index
        end = schedule.end_of_phase(reaches) - 1
        for value in call.reads() + call.writes():
            life = found.setdefault(buffers[value], Life(0, first, end))
            life.last = max(life.last, end)
            life.nbytes = max(life.nbytes, size(value))
    return found


def place(schedule: Schedule, size: Callable[[Value], int]) -> Placement:
    """Places buffers in the order of their lives, each in the lowest gap between those that live at that time."""
    starts: dict[Value, int] = {}
    living: list[tuple[int, Life]] = []  # by start
    arena_bytes = 0
    for value, life in sorted(lives(schedule, size).items(), key=lambda item: item[1].first):
        living = [(start, other) for start, other in living if other.last >= life.first]
        start = _lowest_gap(_aligned(life.nbytes), living)
        insort(living, (start, life), key=lambda item: item[0])
        starts[value] = start
        arena_bytes = max(arena_bytes, start + _aligned(life.nbytes))
    buffers = buffer_of_values(schedule)
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
