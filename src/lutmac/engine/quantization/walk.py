"""The walk through a model's layers: products are met in order, with the inputs that they really get."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from lutmac.engine.quantization.forward import Forward
from lutmac.graph.ir import Floats, Graph, Op, Value, layer_of
from lutmac.graph.operations.expert_matmul import ExpertMatMul
from lutmac.graph.operations.head_matmul import HeadMatMul
from lutmac.graph.operations.matmul import MatMul
from lutmac.lowbit.rounding import Moments

ROWS_AT_ONCE = 4096


class Visitor(Protocol):
    """Looks at products before they run."""

    def before(self, name: str, x: Value, forward: Forward, moments: Moments) -> None:
        """The matrix of a product of x, which will run next. moments: the mean of x x^T over its inputs."""


def walk(
    graph: Graph,
    forward: Forward,
    visitor: Visitor,
    *,
    first: int = 0,
    at_layer: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Runs the operations from ``first`` on. at_layer: called with the first operation of each layer, before it runs.

    Values are dropped when nothing reads them any more.
    """
    last_reader = {value.name: places[-1] for value, places in graph.readers().items()}
    moments: dict[str, Moments] = {}
    layer = None
    for index, op in enumerate(graph.ops[first:], first):
        of_layer = layer_of(op.writes())
        if of_layer is not None and of_layer != layer:
            layer = of_layer
            if at_layer is not None:
                at_layer(index)
        _visit(op, forward, visitor, moments)
        forward.run(op)
        for name in {value.name for value in (*op.reads(), *op.writes())}:
            if last_reader.get(name, -1) <= index:
                forward.values.pop(name, None)
                moments.pop(name, None)
        if progress is not None:
            progress(index + 1)


def _visit(op: Op, forward: Forward, visitor: Visitor, moments: dict[str, Moments]) -> None:
    """Shows the visitor the products of an operation. moments: those of inputs that are known, by their names."""
    if isinstance(op, MatMul):
        name = op.x.name
        if name not in moments:
            moments[name] = second_moments(forward.value(op.x))
        visitor.before(op.weight.name, op.x, forward, moments[name])
    elif isinstance(op, ExpertMatMul):
        for weight, own in zip(op.weights, _of_experts(op, forward), strict=True):
            visitor.before(weight.name, op.x, forward, own)
    elif isinstance(op, HeadMatMul):
        x = forward.value(op.x)
        for head, weight in enumerate(op.weights):
            visitor.before(weight.name, op.x, forward, second_moments(x[head :: len(op.weights)]))


def _of_experts(op: ExpertMatMul, forward: Forward) -> Iterator[Moments]:
    """The moments of each expert's rows, and as much of all rows' as it has fewer rows than columns."""
    x, starts = forward.value(op.x), forward.value(op.starts)[0].astype(int)
    common = second_moments(x)
    for begin, end in itertools.pairwise(starts[: len(op.weights) + 1]):
        share = np.float32(min(1.0, (end - begin) / x.shape[1]))
        yield common if begin == end else share * second_moments(x[begin:end]) + (1 - share) * common


def second_moments(x: Floats) -> Moments:
    """The mean of x x^T over rows x [n, K]: [K, K]."""
    total = np.zeros((x.shape[1], x.shape[1]), np.float32)
    for start in range(0, len(x), ROWS_AT_ONCE):
        part = x[start : start + ROWS_AT_ONCE]
        total += part.T @ part
    return total / np.float32(len(x))
