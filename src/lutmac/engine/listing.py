"""What a model reads of its checkpoint: the names and shapes of its weights, without loading one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lutmac.engine.info import LeftOut
from lutmac.engine.leftovers import left_out
from lutmac.engine.opened import OpenedModel
from lutmac.engine.sources import checked_entry, piece_name, stored_name
from lutmac.graph.ir import Graph, Vector, Weight

SHORT_CONTEXT: Final = 512  # of calibration


@dataclass
class WeightList:
    """The matrices and vectors that a model has, in the order in which it asks for them; shape by name.

    left_out: what else is in its files.
    """

    opened: OpenedModel
    matrices: dict[str, tuple[int, int]] = field(default_factory=dict)
    vectors: dict[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds this tensor."""
        return self.opened.source.has(name)

    def matrix(self, name: str, rows: int, columns: int, *, first_row: int = 0, of_rows: int | None = None) -> Weight:
        """Lists a matrix, or some rows of one. Raises CheckpointError where it is missing or misshapen."""
        source = self.opened.source
        if of_rows is None or of_rows == rows:
            checked_entry(source, name, (rows, columns))
        else:
            piece = piece_name(name, first_row, rows)
            if source.has_pieces:
                checked_entry(source, piece, (rows, columns))
            else:
                checked_entry(source, name, (of_rows, columns))
            name = piece
        source.check(stored_name(source, name))
        self.matrices[name] = rows, columns
        return Weight(name, rows, columns)

    def vector(self, name: str, width: int) -> Vector:
        """Lists a vector. Raises CheckpointError where it is missing or has another width."""
        checked_entry(self.opened.source, name, (width,))
        self.opened.source.check(name)
        self.vectors[name] = width
        return Vector(name, width)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A vector's values; lists it too."""
        self.vector(name, width)
        values: list[float] = self.opened.source.vector(name).tolist()
        return tuple(values)


def list_weights(opened: OpenedModel) -> tuple[Graph, WeightList]:
    """The model's graph, in plain operations, and what it reads at any context.

    Raises CheckpointError and UnsupportedModelError.
    """
    listed, trained = WeightList(opened), opened.config.max_position_embeddings
    opened.architecture.build(opened.config.at_context(trained), listed)  # may read other vectors than a short context
    graph = opened.architecture.build(opened.config.at_context(min(trained, SHORT_CONTEXT)), listed)
    listed.left_out = left_out(opened, (*listed.matrices, *listed.vectors))
    return graph, listed
