"""From a graph after its passes to the native program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lutmac import _native
from lutmac.graph.lowering import Lowering, Parameters
from lutmac.graph.placement import Placement, place
from lutmac.graph.schedule import Schedule
from lutmac.graph.states import Pages

__all__ = ["CacheLayout", "CacheType", "Compiled", "Limits", "Parameters", "cache_layout", "compile_schedule"]

CacheType = Literal["f16", "f32", "int8"]  # what keys and values are kept as


@dataclass(frozen=True)
class Limits:
    """What a program is built for: tokens and sequences in one step, and positions of one sequence."""

    max_tokens: int
    max_sequences: int
    max_context: int


@dataclass(frozen=True)
class CacheLayout:
    """What the key-value cache of a program must hold.

    type: of its elements. windows: for each cache group the window that its states share (0: all positions), and the
    pages with it. state_groups: the group of each state. state_page_bytes: bytes of one page of each.
    """

    type: CacheType
    windows: tuple[int, ...]
    state_groups: tuple[int, ...]
    state_page_bytes: tuple[int, ...]

    @property
    def group_page_bytes(self) -> tuple[int, ...]:
        """Bytes of one page of each group."""
        states = list(zip(self.state_groups, self.state_page_bytes, strict=True))
        return tuple(sum(nbytes for own, nbytes in states if own == group) for group in range(len(self.windows)))

    @property
    def bytes_per_position(self) -> int:
        """Keys and values of one token in all layers."""
        return sum(self.state_page_bytes) // _native.PAGE_TOKENS


@dataclass(frozen=True)
class Compiled:
    """A native program together with what it was made from."""

    program: _native.Program
    schedule: Schedule
    placement: Placement
    cache: CacheLayout
    target: str
    exact: bool
    limits: Limits

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return len({call.layer_index for call in self.schedule.calls} - {None})


def cache_layout(schedule: Schedule, cache_type: CacheType) -> CacheLayout:
    """Puts the states into cache groups by window."""
    states = [state for state in schedule.states().values() if isinstance(state, Pages)]
    windows = tuple(dict.fromkeys(state.window for state in states))
    return CacheLayout(
        cache_type,
        windows,
        tuple(windows.index(state.window) for state in states),
        tuple(
            _native.page_bytes(
                cache_type=cache_type,
                num_kv_heads=state.num_kv_heads,
                head_dim=state.head_dim,
                value_dim=state.value_dim,
            )
            for state in states
        ),
    )


def compile_schedule(
    schedule: Schedule,
    parameters: Parameters,
    *,
    target: str,
    exact: bool,
    limits: Limits,
    cache_type: CacheType = "f16",
) -> Compiled:
    """Places the schedule's values and lowers its calls, one to one, to a native program."""
    rows = limits.max_tokens
    placement = place(schedule, lambda value: rows * value.per_token * _native.form_stride(value.form, value.width))
    cache = cache_layout(schedule, cache_type)
    program = _native.Program(
        target=target,
        max_tokens=limits.max_tokens,
        max_sequences=limits.max_sequences,
        max_context=limits.max_context,
        arena_bytes=placement.arena_bytes,
    )
    states = schedule.states()
    for state, group in zip(states.values(), cache.state_groups, strict=True):
        assert isinstance(state, Pages)
        program.add_pages(
            group=group,
            cache_type=cache_type,
            num_kv_heads=state.num_kv_heads,
            head_dim=state.head_dim,
            value_dim=state.value_dim,
            window=state.window,
        )
    lowering = Lowering(program, parameters, placement.offsets, {name: index for index, name in enumerate(states)})
    for call in schedule.calls:
        lowering.lower(call)
    return Compiled(program, schedule, placement, cache, target, exact, limits)
