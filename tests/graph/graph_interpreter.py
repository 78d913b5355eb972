"""Runs a graph in NumPy, in an arena as it is placed: what shares memory wrongly comes out wrong."""

from __future__ import annotations

import numpy as np

from lutmac.graph.ir import (
    Activation,
    Add,
    Embed,
    GatedActivation,
    GatherOutputs,
    Graph,
    HiddenStates,
    Logits,
    MatMul,
    Multiply,
    Norm,
    Op,
    Prepare,
    Value,
)
from lutmac.graph.placement import place

TOKENS = 3


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


class Interpreter:
    """Holds the arena and a random matrix for each weight name. Preparing is copying."""

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        self.graph = graph
        self.seed = seed
        self.placement = place(graph, lambda value: TOKENS * value.width * 8)
        self.arena = np.full(self.placement.arena_bytes // 8, np.nan)
        self.logits: np.ndarray | None = None

    def run(self) -> np.ndarray:
        for op in self.graph.ops:
            self.execute(op)
        assert self.logits is not None
        return self.logits

    def rows(self, value: Value) -> np.ndarray:
        start = self.placement.offsets[value] // 8
        return self.arena[start : start + TOKENS * value.width].reshape(TOKENS, value.width)

    def random(self, name: str, *shape: int) -> np.ndarray:
        return np.random.default_rng([self.seed, *name.encode()]).normal(size=shape)

    def write(self, values: tuple[Value | None, ...], result: np.ndarray) -> None:
        for value in values:
            if value is not None:
                self.rows(value)[:] = result

    def execute(self, op: Op) -> None:  # noqa: PLR0912 (one case for each operation)
        match op:
            case Embed():
                self.write((op.out,), self.random("tokens", TOKENS, op.out.width))
            case GatherOutputs():
                self.write((op.out,), self.rows(op.x))
            case Norm():
                x = self.rows(op.x).reshape(TOKENS, -1, op.weight.width)
                scaled = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + op.eps)
                result = (scaled * self.random(op.weight.name, op.weight.width)).reshape(TOKENS, -1)
                self.write((op.out, *op.forms), result if op.residual is None else result + self.rows(op.residual))
            case Prepare():
                self.write(op.forms, self.rows(op.x))
            case MatMul():
                for product in op.products:
                    weight = self.random(product.weight.name, product.weight.rows, product.weight.columns)
                    result = self.rows(product.x) @ weight.T / product.weight.columns**0.5
                    if product.bias is not None:
                        result = result + self.random(product.bias.name, product.bias.width)
                    if product.residual is not None:
                        result = result + self.rows(product.residual)
                    self.write((product.out,), result)
            case Activation():
                self.write((op.out,), silu(self.rows(op.x)))
            case Multiply():
                self.write((op.out,), self.rows(op.a) * self.rows(op.b))
            case GatedActivation():
                self.write((op.out, *op.forms), silu(self.rows(op.gate)) * self.rows(op.up))
            case Add():
                self.write((op.out, *op.forms), self.rows(op.a) + op.scale * self.rows(op.b))
            case HiddenStates():
                pass  # what the head reads, for the caller to have
            case Logits():
                weight = self.random(op.weight.name, op.weight.rows, op.weight.columns)
                self.logits = self.rows(op.x) @ weight.T
            case _:
                raise AssertionError(f"no such operation in these tests: {op}")
