"""What a checkpoint's tensors are asked for: by Hugging Face's names, whole or in pieces, with checks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.bounded_json import shown
from lutmac.errors import CheckpointError
from lutmac.lowbit.matrix import AnyMatrix
from lutmac.lowbit.rows import rows_of
from lutmac.lowbit.turned import turned

HEAD: Final = "lm_head.weight"


class TensorEntry(Protocol):
    """A tensor as it stands in a checkpoint: its name there, its shape, and the bytes that it takes."""

    @property
    def name(self) -> str:
        """As the checkpoint has it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Slowest dimension first."""

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""


class TensorSource(Protocol):
    """A checkpoint's tensors by Hugging Face's names.

    has_pieces: whether rows that a model asks for apart lie apart, under the name that Weight.part_of gives them.
    """

    path: str
    nbytes: int
    has_pieces: bool

    @property
    def names(self) -> Iterable[str]:
        """All that are there, as the checkpoint has them."""

    @property
    def head_is_copy(self) -> bool:
        """Whether the head is the embedding once more; ``find`` does not find it then."""

    def tensor_of(self, name: str) -> str:
        """Which tensor of ``names`` is read for a model's name, or for a piece's."""

    def is_zero(self, tensor: str) -> bool:
        """Whether all numbers of one of ``names`` are 0."""

    def check(self, name: str) -> None:
        """Raises UnsupportedModelError where a tensor that is there has a type that cannot be read."""

    def find(self, name: str) -> TensorEntry | None:
        """The tensor's entry, None where there is none."""

    def has(self, name: str) -> bool:
        """Whether it is there, whole or in pieces."""

    def file_name(self, name: str) -> str:
        """What the checkpoint calls it."""

    def matrix(self, name: str) -> AnyMatrix:
        """A matrix that is there."""

    def vector(self, name: str) -> NDArray[np.float32]:
        """A vector that is there."""

    def mapped(self, name: str, target: str) -> _native.Matrix | None:
        """A matrix that lies in the target's packing already, None where it has to be packed."""

    def order(self, name: str) -> NDArray[np.int32] | None:
        """The input permutation of a mapped matrix."""

    def drop_pages(self, name: str) -> None:
        """Gives the memory of a tensor's bytes back."""


@dataclass(frozen=True)
class SourceTensors:
    """What completes a configuration; see models.Tensors."""

    source: TensorSource

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds this tensor."""
        return self.source.has(name)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A small vector's values. Raises CheckpointError where it has another width."""
        checked_entry(self.source, name, (width,))
        values: list[float] = self.source.vector(name).tolist()
        return tuple(values)

    def rows(self, name: str) -> int:
        """Rows of a matrix, 0 where there is none."""
        entry = self.source.find(name)
        return 0 if entry is None or len(entry.shape) != 2 else entry.shape[0]


def read_piece(source: TensorSource, name: str) -> AnyMatrix:
    """A matrix, or some rows of one, by the name that Weight.part_of or Weight.turned_part_of gives them."""
    piece = None if source.has_pieces else re.fullmatch(r"(.+)\[(\d+):(\d+)\](\.T)?", name)
    if piece is None:
        return source.matrix(name)
    rows = rows_of(source.matrix(piece[1]), int(piece[2]), int(piece[3]) - int(piece[2]))
    return turned(rows) if piece[4] else rows


def stored_name(source: TensorSource, name: str) -> str:
    """The tensor that a piece is of."""
    return name if source.has_pieces else name.partition("[")[0]


def checked_entry(source: TensorSource, name: str, shape: tuple[int, ...]) -> TensorEntry:
    """The entry of a tensor. Raises CheckpointError where it is missing or has another shape."""
    entry = source.find(name)
    if entry is None:
        raise CheckpointError(f"{source.path}: tensor {source.file_name(name)} is missing{_instead(source, name)}")
    if tuple(entry.shape) != shape:
        raise CheckpointError(f"{source.path}: tensor {entry.name} has shape {tuple(entry.shape)}, expected {shape}")
    return entry


def checked_vector(source: TensorSource, name: str, width: int, shape: tuple[int, ...]) -> TensorEntry:
    """The entry of a vector, or of a tensor of that shape, less dimensions of one, that is read as one."""
    entry = source.find(name)
    if entry is not None and (shape or width == 1) and tuple(size for size in entry.shape if size != 1) == shape:
        return entry
    return checked_entry(source, name, (width,))


def _instead(source: TensorSource, name: str) -> str:
    """The names that are most like one that is missing: they tell by what names a checkpoint goes."""
    wanted = Counter(source.file_name(name).split("."))

    def likeness(other: str) -> int:
        return sum((Counter(other.split(".")) & wanted).values())

    nearest = sorted(source.names, key=likeness, reverse=True)[:3]
    found = [other for other in nearest if likeness(other) > 1] or list(source.names)[:3]
    return f"; there are {', '.join(map(shown_name, found))}" if found else "; there are none at all"


def shown_name(name: str) -> str:
    """A tensor's name out of a file, on one line and short enough for a message."""
    return name if re.fullmatch(r"[\w.\-/\[\]:]{1,150}", name) else shown(name)
