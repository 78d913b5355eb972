"""The formats as sources of tensors: GGUF files, Hugging Face directories, and the native format (see TensorSource)."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.checkpoints.gguf import GGUFFile
from lutmac.checkpoints.huggingface import HuggingFaceCheckpoint
from lutmac.checkpoints.native import NativeCheckpoint
from lutmac.engine.loading.tensor_source import HEAD, TensorEntry, stored_name
from lutmac.lowbit.matrix import AnyMatrix
from lutmac.lowbit.packed import packing_name

_log = logging.getLogger("lutmac")
EMBEDDING: Final = "model.embed_tokens.weight"
_COMPARED_AT_ONCE: Final = 1 << 20


class _Unpacked(ABC):
    """A source whose matrices all have to be packed."""

    has_pieces = False

    @abstractmethod
    def entry(self, name: str) -> TensorEntry | None:
        """The tensor's entry, whatever it is."""

    @abstractmethod
    def stored_bytes(self, name: str) -> NDArray[np.uint8] | None:
        """A tensor's bytes, where they alone say what is in it."""

    @abstractmethod
    def drop_pages(self, name: str) -> None:
        """Gives memory back."""

    def find(self, name: str) -> TensorEntry | None:
        """The tensor's entry; a head that is a copy of the embedding does not count."""
        return None if name == HEAD and self.head_is_copy else self.entry(name)

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self.find(name) is not None

    @cached_property
    def head_is_copy(self) -> bool:
        """Tied models are stored with their head more often than not. Others differ in the first bytes compared."""
        head, embedding = self.entry(HEAD), self.entry(EMBEDDING)
        if head is None or embedding is None or tuple(head.shape) != tuple(embedding.shape):
            return False
        one, other = self.stored_bytes(HEAD), self.stored_bytes(EMBEDDING)
        if one is None or other is None or one.shape != other.shape:
            return False
        same = all(
            np.array_equal(one[i : i + _COMPARED_AT_ONCE], other[i : i + _COMPARED_AT_ONCE])
            for i in range(0, len(one), _COMPARED_AT_ONCE)
        )
        self.drop_pages(HEAD)
        return same

    def mapped(self, name: str, target: str) -> _native.Matrix | None:
        """None."""
        return None

    def order(self, name: str) -> NDArray[np.int32] | None:
        """None: nothing is mapped."""
        return None


class GGUFSource(_Unpacked):
    """A GGUF file by Hugging Face's names; see TensorSource.

    A name that maps to ``ffn_up_exps.weight[3]`` is the fourth matrix (or vector) of that stack.
    """

    def __init__(self, file: GGUFFile, gguf_name: Callable[[str], str]) -> None:
        """gguf_name: from Hugging Face's name to GGUF's."""
        self.path = file.path
        self.nbytes = sum(tensor.nbytes for tensor in file.tensors.values())
        self.file_name = gguf_name
        self._file = file

    @property
    def names(self) -> Iterable[str]:
        """The file's."""
        return self._file.tensors

    def tensor_of(self, name: str) -> str:
        """The tensor, of a matrix in a stack the stack."""
        return self._place(name)[0]

    def is_zero(self, tensor: str) -> bool:
        """By its bytes."""
        stored = self._file.stored_bytes(tensor)
        return stored is not None and not stored.any()

    def check(self, name: str) -> None:
        """Of the types that the format defines, all but Q8_1 and Q8_K are read."""
        self._file.check_supported([self.tensor_of(name)])

    def stored_bytes(self, name: str) -> NDArray[np.uint8] | None:
        """A tensor's bytes, None where a scale stands beside it."""
        return self._file.stored_bytes(self.file_name(name))

    def entry(self, name: str) -> TensorEntry | None:
        """The tensor's entry."""
        tensor, index = self._place(name)
        entry = self._file.tensors.get(tensor)
        if entry is None or index is None:
            return entry
        if len(entry.shape) not in (2, 3) or not index < entry.shape[0]:
            return None
        return _StackedEntry(self.file_name(name), tuple(entry.shape[1:]), entry.nbytes // entry.shape[0])

    def matrix(self, name: str) -> AnyMatrix:
        """A matrix."""
        tensor, index = self._place(name)
        return self._file.matrix(tensor, index)

    def vector(self, name: str) -> NDArray[np.float32]:
        """A vector."""
        return self._file.vector(*self._place(name))

    def drop_pages(self, name: str) -> None:
        """Gives memory back."""
        self._file.drop_pages(self._place(name)[0])

    def _place(self, name: str) -> tuple[str, int | None]:
        """The tensor, and which of the matrices that are stacked in it."""
        tensor, stacked, index = self.file_name(name).partition("[")
        return tensor, int(index[:-1]) if stacked and index[:-1].isdecimal() else None


@dataclass(frozen=True)
class _StackedEntry:
    """A matrix or a vector in a stack; see TensorEntry."""

    name: str
    shape: tuple[int, ...]
    nbytes: int


class HuggingFaceSource(_Unpacked):
    """A Hugging Face directory; see TensorSource."""

    def __init__(self, checkpoint: HuggingFaceCheckpoint) -> None:
        """Reads from this checkpoint."""
        self.path = os.fspath(checkpoint.path)
        self.nbytes = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
        self.matrix = checkpoint.matrix
        self.vector = checkpoint.vector
        self._checkpoint = checkpoint

    @property
    def names(self) -> Iterable[str]:
        """The files'."""
        return (tensor.name for tensor in self._checkpoint.tensors.values())

    def entry(self, name: str) -> TensorEntry | None:
        """The tensor's entry."""
        return self._checkpoint.tensors.get(name)

    def stored_bytes(self, name: str) -> NDArray[np.uint8] | None:
        """A tensor's bytes, None of a quantised layer."""
        return self._checkpoint.stored_bytes(name)

    def drop_pages(self, name: str) -> None:
        """Gives memory back."""
        self._checkpoint.drop_pages(name)

    def is_zero(self, tensor: str) -> bool:
        """By its bytes."""
        return not self._checkpoint.file_bytes(tensor).any()

    def check(self, name: str) -> None:
        """Formats were checked when the directory was opened."""
        self._checkpoint.check_supported(self.tensor_of(name))

    def tensor_of(self, name: str) -> str:
        """The tensor."""
        return self.file_name(stored_name(self, name))

    def file_name(self, name: str) -> str:
        """A wrapped model's names have more in front, a bare model's less."""
        tensor = self._checkpoint.tensors.get(name)
        return self._checkpoint.names.of_file(name) if tensor is None else tensor.name


class NativeSource:
    """A directory in the native format; see TensorSource."""

    has_pieces = True
    head_is_copy = False  # none is written

    def __init__(self, checkpoint: NativeCheckpoint) -> None:
        """Reads from this checkpoint."""
        self.path = os.fspath(checkpoint.path)
        self.nbytes = checkpoint.nbytes
        self.find = checkpoint.tensors.get
        self.vector = checkpoint.vector
        self.order = checkpoint.order
        self.drop_pages = checkpoint.drop_pages
        self._checkpoint = checkpoint
        self._whole = {name.partition("[")[0] for name in checkpoint.tensors}
        self._told = False

    def has(self, name: str) -> bool:
        """Whether it is there, whole or in pieces."""
        return name in self._whole

    @property
    def names(self) -> Iterable[str]:
        """As models ask for them."""
        return self._checkpoint.tensors

    def tensor_of(self, name: str) -> str:
        """The same: pieces have tensors of their own."""
        return name

    def is_zero(self, tensor: str) -> bool:
        """Not asked of files that hold what is read and nothing else."""
        return False

    def check(self, name: str) -> None:
        """All types were checked when the directory was opened."""

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
        if self._checkpoint.packing == packing_name(target):
            return self._checkpoint.mapped(name, target)
        if not self._told:
            _log.warning(
                "%s has the packing %s and is packed anew for %s; `lutmac convert` makes one that need not be",
                self.path, self._checkpoint.packing, target,
            )  # fmt: skip
        self._told = True
        return None
