"""Scaling inputs so that the weights that matter most are rounded finest (AWQ).

Lin et al., 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration": columns of large
activations are multiplied by s before they are rounded, and the input is divided by s, which costs nothing where it is
made: in the weight of a norm, or in the rows of the matrix that makes a factor of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights
from lutmac.graph.ir import Floats, Graph, Op, Value, Vector
from lutmac.graph.operations.matmul import MatMul
from lutmac.graph.operations.multiply import Multiply
from lutmac.lowbit.formats import Format
from lutmac.lowbit.reference import dequantize
from lutmac.lowbit.rounding import Moments, output_error, round_to_nearest

EXPONENTS: Final = tuple(step / 10 for step in range(11))


def find_scales(matrices: Sequence[Floats], format: Format, group_size: int | None, moments: Moments) -> Floats:
    """s [K]: a power of the inputs' magnitude, the exponent with the least error of the products."""
    magnitude = np.sqrt(np.maximum(np.diagonal(moments), np.float32(1e-12)))
    best, best_error = np.ones_like(magnitude), np.inf
    for exponent in EXPONENTS:
        s = np.maximum(magnitude**exponent, np.float32(1e-4))
        s = (s / np.sqrt(s.max() * s.min())).astype(np.float32)
        importance = np.diagonal(moments) / np.square(s)
        error = 0.0
        for w in matrices:
            rounded = round_to_nearest(w * s, format, group_size or w.shape[1], importance, quick=True)
            error += output_error(dequantize(rounded) / s - w, moments)
        if error < best_error:
            best, best_error = s, error
    return best


def divide_input(graph: Graph, x: Value, s: Floats, weights: CurrentWeights, forward: Forward) -> None:
    """Divides x by s where it is made, and the value that has been computed already."""
    divided = graph.ops[graph.writers()[x]].divided(forward, s)
    if divided is not None:
        for name, values in divided.items():
            weights.set_vector(name, values)
    else:
        product = _row_maker(graph, x)
        assert product is not None
        name = product.weight.name
        matrix, figures = weights.state.load_matrix(name)
        scale = (np.asarray(matrix.scale, np.float32) / s[:, None]).astype(np.float16)
        offset = None if matrix.offset is None else np.asarray(matrix.offset, np.float32) / s[:, None]
        matrix = replace(matrix, scale=scale, offset=None if offset is None else offset.astype(np.float16))
        weights.state.save_matrix(name, matrix, figures)
        if product.bias is not None:
            weights.set_vector(product.bias.name, weights.vector(product.bias.name) / s)
    forward.values[x.name] = forward.values[x.name] / s


def can_divide(graph: Graph, x: Value, forward: Forward) -> bool:
    """Whether x is read by products alone and made where a division costs nothing."""
    if not all(isinstance(graph.ops[place], MatMul) for place in graph.readers()[x]):
        return False
    op = graph.ops[graph.writers()[x]]
    if op.divided(forward, np.ones(x.width, np.float32)) is not None:
        # A weight that another operation shares has no room for s.
        return all(_uses(graph, vector) == 1 for vector in op.vectors())
    return _row_maker(graph, x) is not None


def _uses(graph: Graph, vector: Vector) -> int:
    return sum(vector in op.vectors() for op in graph.ops)


def _row_maker(graph: Graph, x: Value) -> MatMul | None:
    """The product whose rows are a factor of x, and of nothing else."""
    writers, readers = graph.writers(), graph.readers()
    op = graph.ops[writers[x]]
    if isinstance(op, Multiply):
        for factor in (op.b, op.a):
            maker: Op = graph.ops[writers[factor]]
            if isinstance(maker, MatMul) and len(readers[factor]) == 1:
                return maker
    return None
