"""Reads GGUF files: memory-mapped, bounds-checked, and fast where vocabularies are large."""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import prod

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.gguf_header import GGUFTensor
from lutmac.checkpoints.gguf_metadata import Metadata
from lutmac.checkpoints.gguf_parts import Part, joined_tensors, open_parts
from lutmac.checkpoints.gguf_types import as_matrix, check_type, scaled
from lutmac.checkpoints.mapped_file import drop_pages
from lutmac.closable import Closable
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import AnyMatrix, Array, DenseMatrix
from lutmac.lowbit.reference import dequantize

MAX_SCALE = 2.0**64  # of a whole matrix: times the scales in it, float32 holds it

__all__ = ["GGUFFile", "GGUFTensor", "Metadata", "open_gguf"]


class GGUFFile(Closable):
    """An open GGUF file, or all the files of a model that is split over several.

    Opening reads the header and nothing else; it raises CheckpointError, with the path and what is wrong where, if the
    file cannot be read or contradicts itself. Tensor types need not be supported until one is asked for. The mapping
    lives as long as this object or a matrix whose codes are a view of it; ``with`` and ``close`` only let go earlier.

    path: as given. metadata: see Metadata. tensors: the directory by name, in the file's order. nbytes: of the file, or
    of all.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the file at that path."""
        self.path = os.fspath(path)
        self._parts: list[Part] | None = open_parts(self.path)
        self.metadata = self._parts[0].metadata
        self.tensors = joined_tensors(self._parts)
        self.nbytes = sum(len(part.mapped) for part in self._parts)

    def close(self) -> None:
        """Lets go of the mapping; matrices already handed out stay valid. Metadata and tensors stay readable."""
        self._parts = None

    @property
    def architecture(self) -> str:
        """``general.architecture``, as in "llama". Raises CheckpointError if the file does not say."""
        value = self.metadata.get("general.architecture")
        if not isinstance(value, str) or not value:
            raise CheckpointError(f"{self.path}: metadata lacks general.architecture; is this a language model?")
        return value

    def check_supported(self, names: Iterable[str] | None = None) -> None:
        """Raises UnsupportedModelError for the first of these tensors (default: all) whose type lutmac cannot read."""
        for name in self.tensors if names is None else names:
            check_type(self.path, name, self._tensor(name).type_name)

    def matrix(self, name: str, index: int | None = None) -> AnyMatrix:
        """The 2-D tensor of that name, [M, K]; its codes (or floats) are a read-only view of the file.

        index: which matrix of a 3-D tensor, a stack of them. A tensor ``x.scale`` of one number (for a stack: one for
        each matrix), which conversions to NVFP4 and of BitNet write, is part of ``x.weight``.
        Raises UnsupportedModelError for a type that lutmac does not read, CheckpointError if there is no such tensor
        or it is no matrix. One row may be stored as a vector: llama.cpp's tools leave out dimensions of 1.
        """
        tensor = self._tensor(name)
        check_type(self.path, name, tensor.type_name)
        stacked, shape = index is not None, tensor.shape if len(tensor.shape) > 1 else (1, *tensor.shape)
        if len(shape) != 2 + stacked or (index is not None and not 0 <= index < tensor.shape[0]):
            what = f"that of {index + 1} matrices or more" if index is not None else "that of a matrix"
            raise CheckpointError(f"{self.path}: tensor {name!r} has shape {tensor.shape}, not {what}")
        data = self._bytes(tensor)
        if index is not None:
            data = data.reshape(tensor.shape[0], -1)[index]
        rows, columns = shape[-2:]
        return scaled(as_matrix(tensor.type_name, rows, columns, data), self._scale(name, index or 0))

    def vector(self, name: str, index: int | None = None) -> NDArray[np.float32]:
        """The tensor of that name (F32, F16 or BF16) as float32, one dimension after the other, copied.

        index: which vector of a 2-D tensor, a stack of them. Raises as matrix does.
        """
        tensor = self._tensor(name)
        check_type(self.path, name, tensor.type_name)
        data, width = self._bytes(tensor), prod(tensor.shape)
        if index is not None:
            if len(tensor.shape) != 2 or not 0 <= index < tensor.shape[0]:
                raise CheckpointError(
                    f"{self.path}: tensor {name!r} has shape {tensor.shape}, not that of {index + 1} vectors or more"
                )
            data, width = data.reshape(tensor.shape[0], -1)[index], tensor.shape[1]
        matrix = as_matrix(tensor.type_name, 1, width, data)
        if not isinstance(matrix, DenseMatrix):
            raise CheckpointError(f"{self.path}: vector {name!r} has type {tensor.type_name}, not F32, F16 or BF16")
        values: NDArray[np.float32] = dequantize(matrix)[0]
        return values

    def drop_pages(self, name: str | None = None) -> None:
        """Returns the memory that holds this tensor's bytes (default: the whole file's) to the system.

        For use when a tensor has been packed. It stays valid: what is read again comes from the page cache or disk.
        """
        if name is not None:
            tensor = self._tensor(name)
            return drop_pages(self._opened()[tensor.part].mapped, tensor.offset, tensor.nbytes)
        for part in self._opened():
            drop_pages(part.mapped, 0, len(part.mapped))

    def stored_bytes(self, name: str) -> NDArray[np.uint8] | None:
        """A tensor's bytes, a view of the file; None where they do not say all: a tensor ``x.scale`` multiplies."""
        if self._scale_beside(name) is not None:
            return None
        return self._bytes(self._tensor(name))

    def _scale(self, name: str, index: int) -> float:
        """The number that all weights of a matrix are to be multiplied by."""
        scale = self._scale_beside(name)
        if scale is None:
            return 1.0
        matrices = prod(self.tensors[name].shape[:-2])
        if scale.elements != matrices or scale.type_name != "F32":
            shown = f"{scale.elements} numbers in {scale.type_name}"
            raise UnsupportedModelError(f"{self.path}: tensor {scale.name!r} is {shown}, expected {matrices} in F32")
        value = float(self._bytes(scale).view(np.float32)[index])
        if not abs(value) <= MAX_SCALE:
            raise CheckpointError(f"{self.path}: tensor {scale.name!r} is {value}, which is no scale of weights")
        return value

    def _scale_beside(self, name: str) -> GGUFTensor | None:
        """What multiplies a matrix. Beside Gemma 4's router there is what multiplies its input, a vector."""
        if not name.endswith(".weight") or name.endswith(".ffn_gate_inp.weight"):
            return None
        return self.tensors.get(f"{name.removesuffix('.weight')}.scale")

    def _tensor(self, name: str) -> GGUFTensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise CheckpointError(f"{self.path}: there is no tensor {name!r}") from None

    def _opened(self) -> list[Part]:
        if self._parts is None:
            raise CheckpointError(f"{self.path}: the file has been closed")
        return self._parts

    def _bytes(self, tensor: GGUFTensor) -> Array:
        return np.frombuffer(self._opened()[tensor.part].mapped, np.uint8, tensor.nbytes, tensor.offset)


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Opens a GGUF file; see GGUFFile."""
    return GGUFFile(path)
