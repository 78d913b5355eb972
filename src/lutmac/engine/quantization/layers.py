"""The layers of a model, quantised one matrix after another, with or without calibration; taken up where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.quantization.budget import Sensitivities, allocate
from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights, figures, quantize_matrix
from lutmac.engine.quantization.scaling import can_divide, divide_input, find_scales
from lutmac.engine.quantization.settings import QuantizationSettings
from lutmac.engine.quantization.state import QuantizationState
from lutmac.engine.quantization.walk import walk
from lutmac.graph.ir import Graph, Value
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.matmul import MatMul
from lutmac.lowbit.rounding import Moments

Progress = Callable[[int, int, str], None]
POSITION: Final = "position"  # in the state: the next operation, and the values that it and later ones read
BITS: Final = "bits"


@dataclass
class LayerQuantizer:
    """Quantises the products' matrices of a graph; what is done lies in the state.

    tokens: of the calibration text [sequences, length], None without one.
    """

    graph: Graph
    weights: CurrentWeights
    settings: QuantizationSettings
    state: QuantizationState
    tokens: NDArray[np.int32] | None
    progress: Progress | None
    _bits: dict[str, int] = field(default_factory=dict)
    _divided: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Quantises what is not yet."""
        self._bits = self._choose_bits()
        if self.tokens is None:
            for done, name in enumerate(self.names):
                if not self.state.has(name):
                    self._quantize(name, None)
                self._report(done + 1, len(self.names), "quantising")
            return
        forward, first = Forward(self.tokens, self.weights), 0
        if self.state.has(POSITION):
            found = self.state.load(POSITION)
            first = int(found.pop(POSITION))
            forward.values = found
            self._forget(first)
        total = len(self.graph.ops)
        walk(
            self.graph,
            forward,
            self,
            first=first,
            at_layer=lambda index: self.state.save(POSITION, {**forward.values, POSITION: np.array(index)}),
            progress=lambda done: self._report(done, total, "quantising"),
        )

    @property
    def names(self) -> list[str]:
        """The matrices, in the order in which they are quantised."""
        ops = [op for op in self.graph.ops if not (op.LOOKS_UP or isinstance(op, Logits))]
        return list(dict.fromkeys(weight.name for op in ops for weight in op.matrices()))

    def before(self, name: str, x: Value, forward: Forward, moments: Moments) -> None:
        """Quantises one matrix; see walk.Visitor."""
        if self.settings.method == "awq" and x.name not in self._divided:
            self._divided.add(x.name)
            if can_divide(self.graph, x, forward):
                self._divide(x, forward, moments)
        self._quantize(name, moments)

    def _forget(self, first: int) -> None:
        """Drops what a stopped run has done to the vectors of operations from ``first`` on."""
        for op in self.graph.ops[first:]:
            for vector in op.vectors():
                self.state.drop(f"vector:{vector.name}")

    def _divide(self, x: Value, forward: Forward, moments: Moments) -> None:
        """Scales the input of some products, all of which read it; moments become those of the scaled input."""
        ops = [self.graph.ops[place] for place in self.graph.readers()[x]]
        readers = [op.weight.name for op in ops if isinstance(op, MatMul)]
        format = self.settings.format(self._bits[readers[0]])
        s = find_scales([self.weights.source(name) for name in readers], format, self.settings.group_size, moments)
        divide_input(self.graph, x, s, self.weights, forward)
        self.weights.input_scales.update(dict.fromkeys(readers, s))
        moments /= s[:, None] * s[None, :]

    def _quantize(self, name: str, moments: Moments | None) -> None:
        w = self.weights.source(name)
        matrix = quantize_matrix(w, self._bits[name], self.settings, moments)
        self.state.save_matrix(name, matrix, figures(w, matrix, moments))

    def _choose_bits(self) -> dict[str, int]:
        if self.settings.average_bits is None:
            return dict.fromkeys(self.names, self.settings.bits)
        if self.state.has(BITS):
            return {name: int(bits) for name, bits in self.state.load(BITS).items()}
        measured = Sensitivities(self.weights, self.settings)
        if self.tokens is None:
            for done, name in enumerate(self.names):
                measured.measure(name, None)
                self._report(done + 1, len(self.names), "measuring")
        else:
            total = len(self.graph.ops)
            walk(
                self.graph,
                Forward(self.tokens, self.weights),
                measured,
                progress=lambda done: self._report(done, total, "measuring"),
            )
        bits = allocate(measured.losses, measured.sizes, self.settings)
        self.state.save(BITS, {name: np.array(value) for name, value in bits.items()})
        return bits

    def _report(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)
