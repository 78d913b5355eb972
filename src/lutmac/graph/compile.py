"""From a graph after its passes to the native program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lutmac import _native
from lutmac.graph.lowering import Lowering, Parameters
from lutmac.graph.operations.bidirectional_attention import BidirectionalAttention
from lutmac.graph.operations.logits import Logits
from lutmac.graph.placement import Placement, place
from lutmac.graph.schedule import Schedule
from lutmac.graph.states import Pages, Slot, State

__all__ = [
    "CacheLayout", "CacheType", "Compiled", "Limits", "Parameters", "Precision", "cache_layout", "compile_schedule",
]  # fmt: skip

CacheType = Literal["f16", "f32", "int8"]  # what keys and values are kept as
# exact: float arithmetic. uniform: default arithmetic, and prompts have that of generated tokens on every target.
Precision = Literal["default", "exact", "uniform"]


@dataclass(frozen=True)
class Limits:
    """What a program is built for: tokens and sequences in one step, and positions of one sequence.

    step_tokens: as many as a step is filled up to, where it may have more for a sequence that it has to hold whole;
    0: max_tokens.
    """

    max_tokens: int
    max_sequences: int
    max_context: int
    step_tokens: int = 0


@dataclass(frozen=True)
class CacheLayout:
    """What the cache of a program must hold.

    type: of keys and values. groups: for each cache group the window that its states share (0: all positions), or None
    for slots. state_groups: the group of each state. state_bytes: bytes of one page of each, or of a slot.
    """

    type: CacheType
    groups: tuple[int | None, ...]
    state_groups: tuple[int, ...]
    state_bytes: tuple[int, ...]

    def group_bytes(self, group: int) -> int:
        """Bytes of one page of a group, or of a slot."""
        return sum(nbytes for own, nbytes in zip(self.state_groups, self.state_bytes, strict=True) if own == group)

    @property
    def bytes_per_position(self) -> int:
        """Keys and values of one token in all layers."""
        pages = [group for group, window in enumerate(self.groups) if window is not None]
        return sum(self.group_bytes(group) for group in pages) // _native.PAGE_TOKENS


@dataclass(frozen=True)
class Compiled:
    """A native program together with what it was made from."""

    program: _native.Program
    schedule: Schedule
    placement: Placement
    cache: CacheLayout
    target: str
    precision: Precision
    limits: Limits

    @property
    def by_role(self) -> bool:
        """Whether tokens of prompts have another arithmetic than those that are generated."""
        return self.precision == "default" and _native.computes_by_role(self.target)

    @property
    def reads_whole_texts(self) -> bool:
        """Whether tokens see what follows them: a step then holds whole sequences, and nothing can be generated."""
        return any(isinstance(call.op, BidirectionalAttention) for call in self.schedule.calls)

    @property
    def logits_size(self) -> int:
        """Logits of a row: the vocabulary, or what a head for whole texts tells apart; 0 without a head."""
        return next((call.op.weight.rows for call in self.schedule.calls if isinstance(call.op, Logits)), 0)

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return len({call.layer_index for call in self.schedule.calls} - {None})


def cache_layout(schedule: Schedule, cache_type: CacheType) -> CacheLayout:
    """Puts states into cache groups, in the order in which they are met: pages by window, slots together."""
    states = schedule.states().values()
    groups = tuple(dict.fromkeys(state.window if isinstance(state, Pages) else None for state in states))
    of_states = (groups.index(state.window if isinstance(state, Pages) else None) for state in states)
    return CacheLayout(cache_type, groups, tuple(of_states), tuple(_state_bytes(state, cache_type) for state in states))


def _state_bytes(state: State, cache_type: CacheType) -> int:
    if isinstance(state, Slot):
        return state.nbytes
    assert isinstance(state, Pages)
    return _native.page_bytes(
        cache_type=cache_type,
        num_kv_heads=state.num_kv_heads,
        head_dim=state.head_dim,
        value_dim=state.value_dim,
        latent=state.latent,
    )


def compile_schedule(
    schedule: Schedule,
    parameters: Parameters,
    *,
    target: str,
    precision: Precision,
    limits: Limits,
    cache_type: CacheType = "f16",
) -> Compiled:
    """Places the schedule's values and lowers its calls, one to one, to a native program.

    precision: that for which the passes have made the schedule.
    """
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
        if isinstance(state, Pages):
            program.add_pages(
                group=group,
                cache_type=cache_type,
                num_kv_heads=state.num_kv_heads,
                head_dim=state.head_dim,
                value_dim=state.value_dim,
                window=state.window,
                latent=state.latent,
            )
        elif isinstance(state, Slot):
            program.add_slot(group=group, bytes=state.nbytes)
    lowering = Lowering(program, parameters, placement.offsets, {name: index for index, name in enumerate(states)})
    for call in schedule.calls:
        lowering.lower(call)
    return Compiled(program, schedule, placement, cache, target, precision, limits)
