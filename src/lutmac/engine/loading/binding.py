"""From a graph that a configuration gives to one whose matrices are packed: what every model goes through."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.graph.ir import Form, Graph, Vector, Weight
from lutmac.graph.lowering import Parameters

_FORMS: Final[dict[str, Form]] = {
    "plain": "plain", "tables": "tables", "integers": "integers", "ternary": "ternary", "bf16": "bf16",
}  # fmt: skip


class Packing(Protocol):
    """Where the parameters that a graph names come from."""

    def matrix(self, weight: Weight) -> tuple[_native.Matrix, NDArray[Any] | None]:
        """A packed matrix, filled by ``finish`` at the latest, and the permutation of its input, if it has one."""

    def vector(self, vector: Vector) -> NDArray[np.float32]:
        """[width]."""

    def finish(self) -> None:
        """Fills the matrices that were asked for."""


@dataclass(frozen=True)
class Bound:
    """A graph whose weights say the form that they want, and what they are."""

    graph: Graph
    parameters: Parameters


def bind(graph: Graph, packing: Packing, *, rounded: bool = False) -> Bound:
    """Hands what the graph names to the packing, each once. The matrices have their contents when ``packing.finish()``
    has returned. rounded: dense matrices want their input rounded, on targets that are faster so. Raises what the
    packing raises.
    """
    parameters, known = Parameters(), {}
    for vector in graph.vectors().values():  # little to read, before there is much
        parameters.vectors[vector.name] = packing.vector(vector)
    for weight in graph.weights().values():
        packed, permutation = packing.matrix(weight)
        order = None if permutation is None else _keep_order(parameters, permutation)
        parameters.matrices[weight.name] = packed
        known[weight.name] = replace(
            weight,
            form=_FORMS[packed.rounded_form if rounded else packed.form],
            bits=packed.bits,
            group_size=packed.group_size,
            nbytes=packed.nbytes,
            order=order,
        )
    return Bound(graph.bound(known), parameters)


def _keep_order(parameters: Parameters, permutation: NDArray[Any]) -> str:
    """The name of a matrix's input permutation: what is in it, so that equal ones are shared."""
    order = np.ascontiguousarray(permutation, np.int32)
    name = hashlib.sha256(order.tobytes()).hexdigest()
    parameters.orders[name] = order
    return name
