"""A checkpoint's tensors on their way to a model: checked, packed, and handed out by Hugging Face's names."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.checkpoints.gguf import GGUFFile
from lutmac.checkpoints.huggingface import HuggingFaceCheckpoint
from lutmac.checkpoints.native import NativeCheckpoint
from lutmac.errors import CheckpointError
from lutmac.graph.compile import Parameters
from lutmac.graph.ir import Form, Vector, Weight
from lutmac.lowbit.matrix import AnyMatrix, LowBitMatrix
from lutmac.lowbit.packed import packing_of
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.rows import rows_of

_log = logging.getLogger("lutmac")
Progress = Callable[[int, int, str], None]
PACK_TOGETHER = 128 << 20  # bytes of the file: a small model at once, of a large one never much twice in memory
FORMS: dict[str, Form] = {"plain": "plain", "tables": "tables", "integers": "integers", "ternary": "ternary"}


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

    has_pieces: whether rows that a model asks for apart lie apart, under the name that piece_name gives them.
    """

    path: str
    nbytes: int
    has_pieces: bool

    def find(self, name: str) -> TensorEntry | None:
        """The tensor's entry, None where there is none."""

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


class _Unpacked:
    """A source whose matrices all have to be packed."""

    has_pieces = False

    def mapped(self, name: str, target: str) -> _native.Matrix | None:
        """None."""
        return None

    def order(self, name: str) -> NDArray[np.int32] | None:
        """None: nothing is mapped."""
        return None


class GGUFSource(_Unpacked):
    """A GGUF file by Hugging Face's names; see TensorSource.

    A name that maps to ``ffn_up_exps.weight[3]`` is the fourth matrix of that stack.
    """

    def __init__(self, file: GGUFFile, gguf_name: Callable[[str], str]) -> None:
        """gguf_name: from Hugging Face's name to GGUF's."""
        self.path = file.path
        self.nbytes = sum(tensor.nbytes for tensor in file.tensors.values())
        self.file_name = gguf_name
        self._file = file

    def find(self, name: str) -> TensorEntry | None:
        """The tensor's entry."""
        tensor, index = self._place(name)
        entry = self._file.tensors.get(tensor)
        if entry is None or index is None:
            return entry
        if len(entry.shape) != 3 or not index < entry.shape[0]:
            return None
        return _StackedEntry(self.file_name(name), tuple(entry.shape[1:]), entry.nbytes // entry.shape[0])

    def matrix(self, name: str) -> AnyMatrix:
        """A matrix."""
        tensor, index = self._place(name)
        return self._file.matrix(tensor, index)

    def vector(self, name: str) -> NDArray[np.float32]:
        """A vector."""
        return self._file.vector(self.file_name(name))

    def drop_pages(self, name: str) -> None:
        """Gives memory back."""
        self._file.drop_pages(self._place(name)[0])

    def _place(self, name: str) -> tuple[str, int | None]:
        """The tensor, and which of the matrices that are stacked in it."""
        tensor, stacked, index = self.file_name(name).partition("[")
        return tensor, int(index[:-1]) if stacked else None


@dataclass(frozen=True)
class _StackedEntry:
    """A matrix in a stack; see TensorEntry."""

    name: str
    shape: tuple[int, ...]
    nbytes: int


class HuggingFaceSource(_Unpacked):
    """A Hugging Face directory; see TensorSource."""

    def __init__(self, checkpoint: HuggingFaceCheckpoint) -> None:
        """Reads from this checkpoint."""
        self.path = os.fspath(checkpoint.path)
        self.nbytes = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
        self.find = checkpoint.tensors.get
        self.matrix = checkpoint.matrix
        self.vector = checkpoint.vector
        self.drop_pages = checkpoint.drop_pages

    def file_name(self, name: str) -> str:
        """The same."""
        return name


class NativeSource:
    """A directory in the native format; see TensorSource."""

    has_pieces = True

    def __init__(self, checkpoint: NativeCheckpoint) -> None:
        """Reads from this checkpoint."""
        self.path = os.fspath(checkpoint.path)
        self.nbytes = checkpoint.nbytes
        self.find = checkpoint.tensors.get
        self.vector = checkpoint.vector
        self.order = checkpoint.order
        self.drop_pages = checkpoint.drop_pages
        self._checkpoint = checkpoint
        self._told = False

    def file_name(self, name: str) -> str:
        """The same."""
        return name

    def matrix(self, name: str) -> AnyMatrix:
        """A matrix out of its packing: a copy, so that the file's pages are not needed any more."""
        matrix = self._checkpoint.matrix(name)
        self._checkpoint.drop_pages(name)
        return matrix

    def mapped(self, name: str, target: str) -> _native.Matrix | None:
        """The matrix over the file's bytes, where they are in the target's packing."""
        if self._checkpoint.target == packing_of(target):
            return self._checkpoint.mapped(name, target)
        if not self._told:
            _log.warning(
                "%s is packed for %s and is packed anew for %s; `lutmac convert` makes one that need not be",
                self.path, self._checkpoint.target, target,
            )  # fmt: skip
        self._told = True
        return None


class Weights:
    """Hands tensors to an architecture (see models.WeightSource); all are packed by ``finish`` at the latest."""

    def __init__(self, source: TensorSource, *, target: str, threads: int, progress: Progress | None) -> None:
        """progress: called after each tensor."""
        self.parameters = Parameters()
        self._source = source
        self._progress = progress
        self._weights: dict[str, Weight] = {}
        self._target = target
        self._packer = Packer(target=target, threads=threads)
        self._pending: dict[str, int] = {}  # tensors that the packer has yet to read, and how much of them
        self._pending_bytes = 0
        self._done = 0

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds this tensor."""
        return self._source.find(name) is not None

    def matrix(self, name: str, rows: int, columns: int, *, first_row: int = 0, of_rows: int | None = None) -> Weight:
        """A matrix, or some rows of one. Raises CheckpointError where it is missing or misshapen."""
        total = rows if of_rows is None else of_rows
        stored, name = name, name if total == rows else piece_name(name, first_row, rows)
        if name not in self._weights:
            mapped = self._source.mapped(name, self._target)
            if mapped is not None:
                checked_entry(self._source, name, (rows, columns))
                self._keep(name, mapped, self._source.order(name))
                return self._weights[name]
            if self._source.has_pieces:
                stored, total, first_row = name, rows, 0
            nbytes = checked_entry(self._source, stored, (total, columns)).nbytes * rows // total
            matrix = self._source.matrix(stored)
            if total != rows:
                matrix = rows_of(matrix, first_row, rows)
            packed = self._packer.add(matrix)
            self._keep(name, packed, matrix.input_permutation if isinstance(matrix, LowBitMatrix) else None)
            self._pending[stored] = self._pending.get(stored, 0) + nbytes
            self._pending_bytes += nbytes
            if self._pending_bytes >= PACK_TOGETHER:
                self.finish()
        return self._weights[name]

    def finish(self) -> None:
        """Packs the matrices that were asked for, and gives the file's pages back."""
        self._packer.finish()
        for name, nbytes in self._pending.items():
            self._source.drop_pages(name)
            self._report(nbytes)
        self._pending.clear()
        self._pending_bytes = 0

    def vector(self, name: str, width: int) -> Vector:
        """A vector. Raises CheckpointError where it is missing or has another width."""
        nbytes = checked_entry(self._source, name, (width,)).nbytes
        self.parameters.vectors[name] = self._source.vector(name)
        self._report(nbytes)
        return Vector(name, width)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A vector's values."""
        checked_entry(self._source, name, (width,))
        values: list[float] = self._source.vector(name).tolist()
        return tuple(values)

    def _keep(self, name: str, packed: _native.Matrix, permutation: NDArray[Any] | None) -> None:
        self.parameters.matrices[name] = packed
        self._weights[name] = Weight(
            name, packed.rows, packed.columns, FORMS[packed.form], packed.bits, packed.group_size, packed.nbytes,
            self._order(permutation),
        )  # fmt: skip

    def _order(self, permutation: NDArray[Any] | None) -> str | None:
        """The name of a matrix's input permutation: what is in it, so that equal ones are shared."""
        if permutation is None:
            return None
        order = np.ascontiguousarray(permutation, np.int32)
        name = hashlib.sha256(order.tobytes()).hexdigest()
        self.parameters.orders[name] = order
        return name

    def _report(self, nbytes: int) -> None:
        self._done += nbytes
        if self._progress is not None:
            self._progress(self._done, self._source.nbytes, "loading")


def piece_name(name: str, first_row: int, rows: int) -> str:
    """What some rows of a matrix are called: ``model.layers.0.self_attn.qkv_proj.weight[0:64]``."""
    return f"{name}[{first_row}:{first_row + rows}]"


def read_piece(source: TensorSource, name: str) -> AnyMatrix:
    """A matrix, or some rows of one, by the name that piece_name gives them."""
    piece = None if source.has_pieces else re.fullmatch(r"(.+)\[(\d+):(\d+)\]", name)
    if piece is None:
        return source.matrix(name)
    return rows_of(source.matrix(piece[1]), int(piece[2]), int(piece[3]) - int(piece[2]))


def stored_name(source: TensorSource, name: str) -> str:
    """The tensor that a piece is of."""
    return name if source.has_pieces else name.partition("[")[0]


def checked_entry(source: TensorSource, name: str, shape: tuple[int, ...]) -> TensorEntry:
    """The entry of a tensor. Raises CheckpointError where it is missing or has another shape."""
    entry = source.find(name)
    if entry is None:
        raise CheckpointError(f"{source.path}: tensor {source.file_name(name)} is missing")
    if tuple(entry.shape) != shape:
        raise CheckpointError(f"{source.path}: tensor {entry.name} has shape {tuple(entry.shape)}, expected {shape}")
    return entry
