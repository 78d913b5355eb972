"""From a graph after its passes to the native program."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac import _native
from lutmac.graph.ir import Attention, Graph
from lutmac.graph.lowering import CacheLayout, CacheType, Lowering, Parameters
from lutmac.graph.placement import Placement, place

__all__ = ["CacheLayout", "CacheType", "Compiled", "Limits", "Parameters", "cache_layout", "compile_graph"]


@dataclass(frozen=True)
class Limits:
    """What a program is built for: tokens and sequences in one step, and positions of one sequence."""

    max_tokens: int
    max_sequences: int
    max_context: int


@dataclass(frozen=True)
class Compiled:
    """A native program together with what it was made from."""

    program: _native.Program
    graph: Graph
    placement: Placement
    cache: CacheLayout
    target: str
    exact: bool
    limits: Limits


def cache_layout(graph: Graph, cache_type: CacheType) -> CacheLayout:
    """Puts the layers into cache groups by window."""
    attentions = sorted((op for op in graph.ops if isinstance(op, Attention)), key=lambda op: op.layer)
    windows = tuple(dict.fromkeys(op.window for op in attentions))
    return CacheLayout(
        cache_type,
        windows,
        tuple(windows.index(op.window) for op in attentions),
        tuple(
            _native.page_bytes(cache_type=cache_type, num_kv_heads=op.num_kv_heads, head_dim=op.head_dim)
            for op in attentions
        ),
    )


def compile_graph(
    graph: Graph,
    parameters: Parameters,
    *,
    target: str,
    exact: bool,
    limits: Limits,
    cache_type: CacheType = "f16",
) -> Compiled:
    """Places the graph's values and lowers its operations, one to one, to a native program.

    Raises UnsupportedModelError where an operation is left that the native side does not have.
    """
    rows = limits.max_tokens
    placement = place(graph, lambda value: rows * value.per_token * _native.form_stride(value.form, value.width))
    cache = cache_layout(graph, cache_type)
    program = _native.Program(
        target=target,
        max_tokens=limits.max_tokens,
        max_sequences=limits.max_sequences,
        max_context=limits.max_context,
        arena_bytes=placement.arena_bytes,
        num_layers=len(cache.layer_groups),
        num_cache_groups=len(cache.windows),
    )
    lowering = Lowering(program, parameters, placement.offsets, cache, exact)
    for op in graph.ops:
        lowering.lower(op)
    return Compiled(program, graph, placement, cache, target, exact, limits)
