"""What a model reads of its checkpoint: the names and shapes of its weights, without loading one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lutmac.engine.loading.info import LeftOut
from lutmac.engine.loading.leftovers import left_out
from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.loading.tensor_source import stored_name
from lutmac.engine.loading.weights import check_vector, check_weight
from lutmac.graph.ir import Graph, Vector
from lutmac.models.gguf_names import ROPE_TENSORS

SHORT_CONTEXT: Final = 512  # of calibration


@dataclass(frozen=True)
class WeightList:
    """The matrices and vectors that a model has at any context; shape by name. left_out: what else is in its files."""

    matrices: dict[str, tuple[int, int]]
    vectors: dict[str, int]
    left_out: tuple[LeftOut, ...]


def list_weights(opened: OpenedModel) -> tuple[Graph, WeightList]:
    """The model's graph, in plain operations, and what it reads at any context.

    Raises CheckpointError and UnsupportedModelError.
    """
    source, config = opened.source, opened.config
    trained = config.max_position_embeddings
    graphs = [opened.architecture.graph(config.at_context(count)) for count in (trained, min(trained, SHORT_CONTEXT))]
    weights = {name: weight for graph in graphs for name, weight in graph.weights().items()}
    vectors = {name: vector for graph in graphs for name, vector in graph.vectors().items()}
    for name in ROPE_TENSORS:  # part of the configuration by now
        entry = source.find(name)
        if entry is not None:
            vectors[name] = Vector(name, entry.shape[0])
    for weight in weights.values():
        check_weight(source, weight)
    for vector in vectors.values():
        check_vector(source, vector)
    for name in (*weights, *vectors):
        source.check(stored_name(source, name))
    shapes = {name: (weight.rows, weight.columns) for name, weight in weights.items()}
    widths = {name: vector.width for name, vector in vectors.items()}
    return graphs[-1], WeightList(shapes, widths, left_out(opened, (*shapes, *widths)))
