"""A checkpoint's tensors on their way to a model: checked, and packed; see binding.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.core_queue import CoreUser
from lutmac.engine.loading.tensor_source import TensorEntry, TensorSource, checked_entry, checked_vector
from lutmac.graph.ir import Graph, Vector, Weight
from lutmac.lowbit.matrix import AnyMatrix, LowBitMatrix
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.rows import rows_of
from lutmac.lowbit.turned import turned

Progress = Callable[[int, int, str], None]
PACK_TOGETHER = 128 << 20  # bytes of the file: a small model at once, of a large one never much twice in memory
PACK_BESIDE_OTHERS = 8 << 20  # where replies are written meanwhile: about as long as a step


class CheckpointPacking:
    """Packs what a graph names out of a checkpoint; see binding.Packing."""

    def __init__(self, source: TensorSource, *, target: str, threads: int, progress: Progress | None) -> None:
        """progress: called after each tensor."""
        self._source = source
        self._progress = progress
        self._target = target
        self._packer = Packer(target=target, threads=threads)
        self._pending: dict[str, int] = {}  # tensors that the packer has yet to read, and how much of them
        self._pending_bytes = 0
        self._done = 0
        self._cores = CoreUser()

    def matrix(self, weight: Weight) -> tuple[_native.Matrix, NDArray[Any] | None]:
        """A matrix, or some rows of one. Raises CheckpointError where it is missing or misshapen."""
        mapped = self._source.mapped(weight.name, self._target)
        entry = check_weight(self._source, weight)
        if mapped is not None:
            return mapped, self._source.order(weight.name)
        part = None if self._source.has_pieces else weight.part
        stored = weight.name if part is None else part.stored
        matrix = self._source.matrix(stored)
        if part is not None:
            matrix = rows_of(matrix, part.first_row, weight.columns if part.turned else weight.rows)
        if part is not None and part.turned:
            matrix = turned(matrix)
        if weight.streamed and part is None and _is_in_a_file(matrix):
            self._report(entry.nbytes)
            return self._packer.stream(matrix), None
        packed = self._packer.add(matrix)
        nbytes = entry.nbytes
        if part is not None:
            nbytes = nbytes * (weight.columns if part.turned else weight.rows) // part.of_rows
        self._pending[stored] = self._pending.get(stored, 0) + nbytes
        self._pending_bytes += nbytes
        if self._pending_bytes >= self._together:
            self.finish()
        return packed, matrix.input_permutation if isinstance(matrix, LowBitMatrix) else None

    @property
    def _together(self) -> int:
        """Bytes that are packed before others may have the cores."""
        return PACK_BESIDE_OTHERS if self._cores.shares else PACK_TOGETHER

    def finish(self) -> None:
        """Packs the matrices that were asked for, and gives the file's pages back."""
        done = False
        while not done:
            with self._cores.all_cores() as time:
                done = self._packer.pack(self._together)
                time.is_back = not done
        for name, nbytes in self._pending.items():
            self._source.drop_pages(name)
            self._report(nbytes)
        self._pending.clear()
        self._pending_bytes = 0

    def vector(self, vector: Vector) -> NDArray[np.float32]:
        """A vector. Raises CheckpointError where it is missing or has another width."""
        nbytes = check_vector(self._source, vector).nbytes
        self._report(nbytes)
        return self._source.vector(vector.name).reshape(-1)

    def _report(self, nbytes: int) -> None:
        self._done += nbytes
        if self._progress is not None:
            self._progress(self._done, self._source.nbytes, "loading")


def _is_in_a_file(matrix: AnyMatrix) -> bool:
    """Whether a matrix is a view of a mapped file, in its order: formats whose codes are spread at load have copies."""
    if isinstance(matrix, LowBitMatrix) and matrix.input_permutation is not None:
        return False
    array: Any = matrix.source if isinstance(matrix, LowBitMatrix) else matrix.data
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return not isinstance(array, np.ndarray)


def check_all(source: TensorSource, graph: Graph) -> None:
    """Raises CheckpointError for the first tensor of a graph that is missing or has another shape."""
    for weight in graph.weights().values():
        check_weight(source, weight)
    for vector in graph.vectors().values():
        check_vector(source, vector)


def check_weight(source: TensorSource, weight: Weight) -> TensorEntry:
    """The entry of what holds a matrix. Raises CheckpointError where it is missing or has another shape."""
    if weight.part is None or source.has_pieces:
        entry = source.find(weight.name) if weight.rows == 1 else None
        if entry is not None and tuple(entry.shape) == (weight.columns,):  # one row, stored as a vector
            return entry
        return checked_entry(source, weight.name, (weight.rows, weight.columns))
    columns = weight.rows if weight.part.turned else weight.columns
    return checked_entry(source, weight.part.stored, (weight.part.of_rows, columns))


def check_vector(source: TensorSource, vector: Vector) -> TensorEntry:
    """The entry of a vector. Raises CheckpointError where it is missing or has another width."""
    return checked_vector(source, vector.name, vector.width, vector.shape)
