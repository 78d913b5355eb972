"""What a model reads of its checkpoint: the names and shapes of its weights, without loading one."""

from __future__ import annotations

from dataclasses import dataclass, field

from lutmac.engine.opened import OpenedModel
from lutmac.engine.weights import checked_entry
from lutmac.graph.ir import Graph, Vector, Weight


@dataclass
class WeightList:
    """The matrices and vectors that a model has, in the order in which it asks for them; shape by name."""

    opened: OpenedModel
    matrices: dict[str, tuple[int, int]] = field(default_factory=dict)
    vectors: dict[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds this tensor."""
        return self.opened.source.find(name) is not None

    def matrix(self, name: str, rows: int, columns: int) -> Weight:
        """Lists a matrix. Raises CheckpointError where it is missing or misshapen."""
        checked_entry(self.opened.source, name, (rows, columns))
        self.matrices[name] = rows, columns
        return Weight(name, rows, columns)

    def vector(self, name: str, width: int) -> Vector:
        """Lists a vector. Raises CheckpointError where it is missing or has another width."""
        checked_entry(self.opened.source, name, (width,))
        self.vectors[name] = width
        return Vector(name, width)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A vector's values; lists it too."""
        self.vector(name, width)
        values: list[float] = self.opened.source.vector(name).tolist()
        return tuple(values)


def list_weights(opened: OpenedModel) -> tuple[Graph, WeightList]:
    """The model's graph, in plain operations, and what it reads. Raises CheckpointError, UnsupportedModelError."""
    listed = WeightList(opened)
    return opened.architecture.build(opened.config, listed), listed
