"""How long a sequence a model is loaded for, where nobody says."""

from __future__ import annotations

from typing import Final

from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.running.memory import SHARE, available_memory, cache_needs, least_bytes
from lutmac.graph.compile import CacheType, Limits, cache_layout
from lutmac.graph.schedule import Schedule

SHORT_CONTEXT: Final = 8192  # which is taken without asking how much memory there is
_STEP: Final = 1024  # contexts are a multiple of this where memory bounds them


def default_context(opened: OpenedModel, kv_cache: CacheType, limits: Limits, memory: int | None) -> int:
    """The context that a model was trained for, if one sequence of it fits into the cache's memory.

    Else the longest that fits, but at least 8192. memory: bytes for the cache; None: half of what the weights leave of
    the memory that is available. A context at which "longrope" would change to its long factors is not gone beyond:
    with these, short texts come out worse. limits: all but the context count.
    """
    config = opened.config
    trained = config.max_position_embeddings
    if trained <= SHORT_CONTEXT:
        return trained
    layout = cache_layout(Schedule.of(opened.architecture.graph(config.at_context(trained))), kv_cache)
    scaling = config.at_context(SHORT_CONTEXT).rope_scaling
    if memory is None:
        weights = sum(tensor.nbytes for tensor in opened.tensors)
        memory = int(max(0, available_memory() - weights) * SHARE)

    def fits(context: int) -> bool:
        needs = cache_needs(layout, Limits(limits.max_tokens, limits.max_sequences, context))
        return least_bytes(needs) <= memory and config.at_context(context).rope_scaling == scaling

    if fits(trained):
        return trained
    low, high = SHORT_CONTEXT // _STEP, trained // _STEP
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * _STEP) else (low, middle - 1)
    return low * _STEP
