"""A checkpoint's tensors on their way to a model: checked, packed, and handed out by Hugging Face's names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.sources import TensorSource, checked_entry, piece_name
from lutmac.graph.compile import Parameters
from lutmac.graph.ir import Form, Vector, Weight
from lutmac.lowbit.matrix import LowBitMatrix
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.rows import rows_of

Progress = Callable[[int, int, str], None]
PACK_TOGETHER = 128 << 20  # bytes of the file: a small model at once, of a large one never much twice in memory
FORMS: dict[str, Form] = {"plain": "plain", "tables": "tables", "integers": "integers", "ternary": "ternary"}


class Weights:
    """Hands tensors to an architecture (see models.WeightSource); all are packed by ``finish`` at the latest."""

    def __init__(self, source: TensorSource, *, target: str, threads: int, progress: Progress | None) -> None:
        """progress: called after each tensor. ``read`` becomes the names of all that was asked for."""
        self.parameters = Parameters()
        self.read: set[str] = set()
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
        return self._source.has(name)

    def matrix(self, name: str, rows: int, columns: int, *, first_row: int = 0, of_rows: int | None = None) -> Weight:
        """A matrix, or some rows of one. Raises CheckpointError where it is missing or misshapen."""
        total = rows if of_rows is None else of_rows
        stored, name = name, name if total == rows else piece_name(name, first_row, rows)
        self.read.add(name)
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
        self.read.add(name)
        nbytes = checked_entry(self._source, name, (width,)).nbytes
        self.parameters.vectors[name] = self._source.vector(name)
        self._report(nbytes)
        return Vector(name, width)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A vector's values."""
        self.read.add(name)
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
