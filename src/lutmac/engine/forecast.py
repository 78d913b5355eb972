"""What a model will take and be, as its headers tell before a weight is read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lutmac.engine.default_context import default_context
from lutmac.engine.load import MAX_SEQUENCES, checked_context
from lutmac.engine.loading.opened import open_model
from lutmac.engine.loading.resolve import resolve
from lutmac.engine.running.memory import cache_needs, least_bytes, wanted_bytes
from lutmac.engine.sampling.defaults import usable_defaults
from lutmac.graph.compile import CacheType, Limits, cache_layout
from lutmac.graph.schedule import Schedule

# Measured on SmolLM2, Gemma 3 and Qwen2.5 (49,152 to 262,144 tokens): what a loaded model takes beside its weights.
BESIDE_WEIGHTS: Final = 32 << 20
OF_A_TOKEN: Final = 300  # bytes of the tokenizer's tables, for each token of the vocabulary


@dataclass(frozen=True)
class Forecast:
    """A model as its files describe it.

    types: elements of each type of tensor. context: positions that it would be loaded for, of trained_context.
    weight_bytes: of all tensors. cache_least: bytes of keys, values and states of one sequence of full length;
    cache_wanted: of as many as the default has room for. chat_templates: by name. sampling: options that it recommends.
    """

    path: Path
    name: str
    architecture: str
    layers: int
    parameters: int
    vocab_size: int
    types: Mapping[str, int]
    file_bytes: int
    weight_bytes: int
    context: int
    trained_context: int
    cache_least: int
    cache_wanted: int
    chat_templates: Mapping[str, object]
    sampling: Mapping[str, float]

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight in the file, scales and offsets included."""
        return 8 * self.weight_bytes / max(1, self.parameters)

    @property
    def model_bytes(self) -> int:
        """Memory of the loaded model without its cache."""
        return self.weight_bytes + BESIDE_WEIGHTS + OF_A_TOKEN * self.vocab_size


def forecast(
    path_or_name: str | os.PathLike[str],
    *,
    context: int | None = None,
    kv_cache: CacheType = "f16",
    kv_cache_memory: int | None = None,
    max_batch_tokens: int = 512,
) -> Forecast:
    """Reads the headers of a model; the options are those of ``load``. A context beyond the trained one is that one.

    Raises CheckpointError and UnsupportedModelError.
    """
    with open_model(resolve(path_or_name)) as opened:
        config = opened.config
        trained = config.max_position_embeddings
        limits = Limits(max_batch_tokens, MAX_SEQUENCES, checked_context(None, config))
        if context is None:
            positions = default_context(opened, kv_cache, limits, kv_cache_memory)
        else:
            positions = checked_context(min(context, trained), config)
        limits = replace(limits, max_context=positions)
        schedule = Schedule.of(opened.architecture.graph(config.at_context(positions)))
        needs = cache_needs(cache_layout(schedule, kv_cache), limits)
        types: Counter[str] = Counter()
        for tensor in opened.tensors:
            types[tensor.type] += tensor.elements
        return Forecast(
            path=opened.path,
            name=opened.name,
            architecture=opened.architecture_name,
            layers=len({call.layer_index for call in schedule.calls} - {None}),
            parameters=types.total(),
            vocab_size=config.vocab_size,
            types=types,
            file_bytes=opened.file_bytes,
            weight_bytes=sum(tensor.nbytes for tensor in opened.tensors),
            context=positions,
            trained_context=trained,
            cache_least=least_bytes(needs),
            cache_wanted=wanted_bytes(needs),
            chat_templates=opened.read_templates(),
            sampling=usable_defaults(opened.sampling, os.fspath(opened.path)),
        )
