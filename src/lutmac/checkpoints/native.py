"""The native format: matrices in the packing of an ISA target, ready to be mapped into memory.

A directory of

- ``model.safetensors``, whose ``__metadata__`` says ``format`` ("lutmac"), ``version``, ``packing`` ("avx2/3") and,
  under ``tensors``, as JSON, what each tensor is. The bytes of a matrix ``x`` are ``x:codes``, ``x:scale`` and so on
  (see ``_native.MatrixShape``), its input permutation ``x:order``; a vector is the float32 tensor ``x``, zeros after
  its width. Tensors' bytes begin at a multiple of 4,096 and have lengths that are multiples of 64.
- ``config.json``, with an entry "lutmac", and what a tokenizer needs: the files of the Hugging Face directory that it
  was made of, or ``metadata.gguf``, the metadata of a GGUF file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.bounded_json import parse_json, read_json_object, shown
from lutmac.checkpoints.safetensors import SafetensorsFile, open_safetensors
from lutmac.checkpoints.text_config import text_config
from lutmac.closable import Closable
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import AnyMatrix, LowBitMatrix
from lutmac.lowbit.packed import Bytes, is_known_packing, unpack

VERSION: Final = 1
TENSORS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
GGUF_METADATA_FILE: Final = "metadata.gguf"
CONFIG_KEY: Final = "lutmac"


@dataclass(frozen=True)
class NativeTensor:
    """A tensor as a model sees it. kind: of a matrix; None of a vector. ordered: with an input permutation."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    nbytes: int
    kind: _native.MatrixShape | None = None
    ordered: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def is_native(path: Path) -> bool:
    """Whether a directory says that it is in this format."""
    return (path / CONFIG_FILE).is_file() and CONFIG_KEY in read_json_object(path / CONFIG_FILE)


class NativeCheckpoint(Closable):
    """An open directory; raises CheckpointError or UnsupportedModelError, naming it, if it cannot be read.

    path: as given. config: config.json. packing: what its packing is called. tensors: by Hugging Face's
    names. nbytes: of the file of tensors.
    """

    def __init__(self, path: Path) -> None:
        """Opens the directory: headers are read and checked."""
        self.path = path
        self.config = text_config(path / CONFIG_FILE, read_json_object(path / CONFIG_FILE))
        self._file: SafetensorsFile = open_safetensors(path / TENSORS_FILE)
        self.nbytes = (path / TENSORS_FILE).stat().st_size
        self.packing = self._checked_packing(self._file.metadata)
        self.tensors = self._directory(self._file.metadata.get("tensors", "{}"))

    def close(self) -> None:
        """Lets go of the file; matrices already handed out stay valid."""
        self._file.close()

    @property
    def model_type(self) -> str:
        """``model_type`` of config.json. Raises CheckpointError where it is missing."""
        value = self.config.get("model_type")
        if not isinstance(value, str):
            raise CheckpointError(f"{self.path}: {CONFIG_FILE} has no model_type")
        return value

    def mapped(self, name: str, target: str) -> _native.Matrix:
        """The matrix of that name over the file's own bytes, for a target that has the packing of this checkpoint."""
        kind = self._kind(name)
        with self._naming(name):
            return _native.map_matrix(kind, self._parts(name, kind), target=target)

    def order(self, name: str) -> NDArray[np.int32] | None:
        """The matrix's input permutation, None where it has none. Raises CheckpointError where it is no permutation."""
        tensor = self._tensor(name)
        if not tensor.ordered:
            return None
        order: NDArray[np.int32] = self._file.array(f"{name}:order").astype(np.int32)
        if order.shape != tensor.shape[1:] or not np.array_equal(np.sort(order), np.arange(tensor.shape[1])):
            raise CheckpointError(f"{self.path}: tensor {shown(name)}: its order is no permutation")
        return order

    def matrix(self, name: str) -> AnyMatrix:
        """The matrix of that name out of its packing, for another target."""
        kind = self._kind(name)
        with self._naming(name):
            matrix = unpack(kind, self._parts(name, kind), packing=self.packing)
        order = self.order(name)
        if order is not None and isinstance(matrix, LowBitMatrix):
            return replace(matrix, input_permutation=order)
        return matrix

    def vector(self, name: str) -> NDArray[np.float32]:
        """The vector of that name, copied."""
        tensor = self._tensor(name)
        if tensor.kind is not None:
            raise CheckpointError(f"{self.path}: tensor {shown(name)} is a matrix, not a vector")
        values: NDArray[np.float32] = self._file.array(name)[: tensor.elements].astype(np.float32)
        return values

    def drop_pages(self, name: str) -> None:
        """Returns the memory that holds this tensor's bytes to the system; it stays valid."""
        kind = self._tensor(name).kind
        for part in [name] if kind is None else [f"{name}:{part}" for part in kind.part_names]:
            self._file.drop_pages(part)

    def _tensor(self, name: str) -> NativeTensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise CheckpointError(f"{self.path}: tensor {shown(name)} is missing") from None

    def _kind(self, name: str) -> _native.MatrixShape:
        kind = self._tensor(name).kind
        if kind is None:
            raise CheckpointError(f"{self.path}: tensor {shown(name)} is a vector, not a matrix")
        return kind

    def _parts(self, name: str, kind: _native.MatrixShape) -> list[Bytes]:
        return [self._file.array(f"{name}:{part}") for part in kind.part_names]

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Names the tensor in errors about what it says of itself."""
        try:
            yield
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{self.path}: tensor {shown(name)}: {error}") from None

    def _checked_packing(self, metadata: dict[str, str]) -> str:
        where = self.path / TENSORS_FILE
        if metadata.get("format") != CONFIG_KEY:
            raise CheckpointError(f"{where}: is no file of lutmac's own format, though {CONFIG_FILE} says so")
        if metadata.get("version") != str(VERSION):
            raise UnsupportedModelError(
                f"{where}: has version {shown(metadata.get('version'))} of the format, this lutmac reads {VERSION}: "
                "convert the model again"
            )
        packing = metadata.get("packing", "")
        if not is_known_packing(packing):
            raise UnsupportedModelError(
                f"{where}: has the packing {shown(packing)}, which this lutmac does not know: convert the model again"
            )
        return packing

    def _directory(self, text: str) -> dict[str, NativeTensor]:
        where = f"{self.path / TENSORS_FILE}: the list of tensors"
        listed = parse_json(text.encode(), where, memory=(48 << 20) + self.nbytes)
        if not isinstance(listed, dict):
            raise CheckpointError(f"{where} is {shown(listed)}, expected a mapping")
        return {name: self._entry(name, entry) for name, entry in listed.items()}

    def _entry(self, name: str, entry: object) -> NativeTensor:
        if not isinstance(entry, dict):
            raise CheckpointError(f"{self.path}: tensor {shown(name)} is {shown(entry)}, expected a description")
        if set(entry) == {"width"}:
            width = entry["width"]
            stored = self._file.tensors.get(name)
            if stored is None or stored.dtype != "F32" or type(width) is not int or not 0 < width <= stored.nbytes // 4:
                raise CheckpointError(f"{self.path}: vector {shown(name)} of width {shown(width)} is not there")
            return NativeTensor(name, (width,), "F32", stored.nbytes)
        ordered = entry.pop("ordered", False) is True
        with self._naming(name):
            kind = _native.MatrixShape(entry)
        needed = [f"{name}:{part}" for part in (*kind.part_names, *(["order"] if ordered else []))]
        for part in needed:
            if part not in self._file.tensors or self._file.tensors[part].dtype != (
                "I32" if part == f"{name}:order" else "U8"
            ):
                raise CheckpointError(f"{self.path}: tensor {shown(part)} is missing or has another type")
        nbytes = sum(self._file.tensors[part].nbytes for part in needed)
        return NativeTensor(name, (kind.rows, kind.columns), _type_name(kind), nbytes, kind, ordered)


def _type_name(kind: _native.MatrixShape) -> str:
    """For people: ``3-bit affine, group 128``."""
    fields = kind.fields()
    if "floats" in fields:
        return str(fields["floats"]).upper()
    if fields["codes"] == "ternary":
        return "ternary"
    groups = "rows" if fields["group_size"] >= kind.columns else f"groups of {fields['group_size']}"
    return f"FP8, {groups}" if fields["codes"] == "float8" else f"{fields['bits']}-bit {fields['codes']}, {groups}"


def open_native(path: Path) -> NativeCheckpoint:
    """Opens a directory; see NativeCheckpoint."""
    return NativeCheckpoint(path)
