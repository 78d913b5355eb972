"""Runs a schedule in NumPy, in an arena as it is placed: what shares memory wrongly comes out wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.prepare import Prepare
from lutmac.graph.placement import place
from lutmac.graph.schedule import Call, Schedule

TOKENS = 3
VOCABULARY = 99


class Interpreter:
    """Holds the arena and a random matrix for each weight name. Preparing is copying. All tokens are one sequence."""

    def __init__(self, schedule: Schedule | Graph, seed: int = 0) -> None:
        self.schedule = schedule if isinstance(schedule, Schedule) else Schedule.of(schedule)
        self.seed = seed
        self.placement = place(self.schedule, lambda value: TOKENS * value.width * value.per_token * 8)
        self.arena = np.full(self.placement.arena_bytes // 8, np.nan)
        self.tokens = np.arange(TOKENS, dtype=np.int32)[None]
        self.kept: dict[str, Any] = {}
        self.logits: np.ndarray | None = None
        self.weights = {w.name: w for call in self.schedule.calls for w in call.op.matrices()}
        self.vectors = {v.name: v for call in self.schedule.calls for v in call.op.vectors()}

    def run(self) -> np.ndarray:
        for call in self.schedule.calls:
            self.execute(call)
        assert self.logits is not None
        return self.logits

    def rows(self, value: Value) -> np.ndarray:
        start, count = self.placement.offsets[value] // 8, TOKENS * value.per_token
        return self.arena[start : start + count * value.width].reshape(count, value.width)

    def matrix(self, name: str) -> Any:
        weight = self.weights[name]
        return self.random(name, weight.rows, weight.columns) / weight.columns**0.5

    def vector(self, name: str) -> Any:
        return self.random(name, self.vectors[name].width)

    def random(self, name: str, *shape: int) -> np.ndarray:
        return np.random.default_rng([self.seed, *name.encode()]).normal(size=shape)

    def execute(self, call: Call) -> None:
        op, read = call.op, [self.rows(value).copy() for value in call.op.reads()]
        if isinstance(op, Logits):
            self.logits = op.logits(self, read[0])
            return
        results = read[0] if isinstance(op, Prepare) else op.reference(self, *read)
        results = results if isinstance(results, tuple) else (results,)
        if call.residual is not None:
            results = (results[0] + self.rows(call.residual),)
        for value, result in zip(op.writes() if call.plain else (), results, strict=bool(call.plain and op.writes())):
            self.rows(value)[: len(result)] = result
        for form in call.forms:
            self.rows(form)[:] = results[0]
