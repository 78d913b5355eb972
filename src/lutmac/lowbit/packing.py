"""Handing a checkpoint's matrices to the packing of an ISA target."""

from __future__ import annotations

from lutmac import _native
from lutmac.lowbit.matrix import AnyMatrix, DenseMatrix


class Packer:
    """Packs matrices into the order that an ISA target's kernels read, many in one go."""

    def __init__(self, *, target: str, threads: int) -> None:
        """target: one that this CPU runs."""
        self._native = _native.Packer(target=target, threads=threads)

    def add(self, matrix: AnyMatrix) -> _native.Matrix:
        """A packed matrix whose contents are there once ``finish`` returns; its source is read then.

        An input permutation is not part of the packing: activations are to come in its order. Raises ValueError where
        the matrix contradicts itself.
        """
        if isinstance(matrix, DenseMatrix):
            return self._native.add_dense(matrix.data)
        return self._native.add_lowbit(matrix)

    def stream(self, matrix: AnyMatrix) -> _native.Matrix:
        """A matrix whose rows are read from its arrays when they are looked up. It takes no memory and has no products.

        Its bytes must stay where they are, as those of a mapped file do.
        """
        if isinstance(matrix, DenseMatrix):
            return self._native.stream_dense(matrix.data)
        return self._native.stream_lowbit(matrix)

    def finish(self) -> None:
        """Packs what was added. Other Python threads run meanwhile."""
        self._native.finish()

    def pack(self, most_bytes: int) -> bool:
        """Packs about so many bytes (at least 1) of what was added, as ``finish`` does; whether that was all."""
        return self._native.pack(most_bytes)


def pack(matrix: AnyMatrix, *, target: str, threads: int) -> _native.Matrix:
    """One matrix in the order that the target's kernels read. Its source is not needed afterwards."""
    packer = Packer(target=target, threads=threads)
    packed = packer.add(matrix)
    packer.finish()
    return packed
