"""Reads safetensors files: the header is checked before anything is believed, tensors are views of the mapped file.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, then the tensors' bytes
without gaps).
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import parse_json, shown
from lutmac.checkpoints.mapped_file import drop_pages, map_file
from lutmac.closable import Closable
from lutmac.errors import CheckpointError

MAX_HEADER_BYTES: Final = 100_000_000  # the format's own limit
MAX_DIMENSIONS: Final = 32
_MAX_INTEGER: Final = 2**63 - 1

# Bits per element of every element type that the format defines.
ELEMENT_BITS: Final = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip

# As NumPy sees them. Types that it lacks come as the unsigned integers that hold their bits; those of 4 and 6 bits as
# the bytes that they are packed in.
_ARRAY_TYPES: Final = {
    "BOOL": "?", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "BF16": "<u2", "I32": "<i4", "U32": "<u4",
    "F32": "<f4", "C64": "<c8", "F64": "<f8", "I64": "<i8", "U64": "<u8",
}  # fmt: skip


@dataclass(frozen=True)
class SafetensorsTensor:
    """A tensor's entry: element type and shape as the header has them, and where its bytes lie in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class SafetensorsFile(Closable):
    """An open safetensors file; raises CheckpointError, with the path and what is wrong where, if it lies.

    path: as given. metadata: the header's ``__metadata__``. tensors: by name, in the order of their bytes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the file at that path and reads its header."""
        self.path = os.fspath(path)
        self._map: mmap.mmap | None = map_file(self.path)
        self.metadata, self.tensors = _read_header(self._map, self.path)

    def close(self) -> None:
        """Lets go of the mapping; arrays already handed out stay valid."""
        self._map = None

    def array(self, name: str) -> NDArray[Any]:
        """The tensor of that name, a read-only view of the file.

        BF16 comes as uint16 and FP8 as uint8, which hold their bits; F4 and F6 as the bytes that they are packed in,
        1-D. Raises CheckpointError if there is no such tensor.
        """
        tensor = self._tensor(name)
        data = np.frombuffer(self._mapped(), np.uint8, tensor.nbytes, tensor.offset if tensor.nbytes else 0)
        if ELEMENT_BITS[tensor.dtype] < 8:
            return data
        return data.view(_ARRAY_TYPES.get(tensor.dtype, "u1")).reshape(tensor.shape)

    def drop_pages(self, name: str) -> None:
        """Returns the memory that holds this tensor's bytes to the system; it stays valid."""
        tensor = self._tensor(name)
        drop_pages(self._mapped(), tensor.offset, tensor.nbytes)

    def _tensor(self, name: str) -> SafetensorsTensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise CheckpointError(f"{self.path}: there is no tensor {name!r}") from None

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            raise CheckpointError(f"{self.path}: the file has been closed")
        return self._map


def open_safetensors(path: str | os.PathLike[str]) -> SafetensorsFile:
    """Opens a safetensors file; see SafetensorsFile."""
    return SafetensorsFile(path)


def _read_header(mapped: mmap.mmap, path: str) -> tuple[dict[str, str], dict[str, SafetensorsTensor]]:
    size = len(mapped)
    if size < 8:
        raise CheckpointError(f"{path}: has {size} bytes, too few for a safetensors file")
    length = int.from_bytes(mapped[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{path}: has a header of {length} bytes, the most is {MAX_HEADER_BYTES}: no safetensors?"
        )
    if 8 + length > size:
        raise CheckpointError(f"{path}: is cut off: a header of {length} bytes, but the file has {size}")
    if mapped[8:9] != b"{":
        raise CheckpointError(f"{path}: is no safetensors file: its header is no JSON object")
    # Objects may take what a hostile file may cost at most: its own size, and some.
    header = parse_json(mapped[8 : 8 + length], f"{path}: the header", memory=(48 << 20) + size)
    metadata = _metadata(header.pop("__metadata__", None), path)
    tensors = [_entry(name, entry, 8 + length, path) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.nbytes))
    _check_places(tensors, 8 + length, size, path)
    return metadata, {tensor.name: tensor for tensor in tensors}


def _metadata(value: Any, path: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"{path}: the header's __metadata__ is no mapping of strings")
    return value


def _entry(name: str, entry: Any, base: int, path: str) -> SafetensorsTensor:
    what = f"{path}: tensor {shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{what} has {shown(entry)} where dtype, shape and data_offsets belong")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ELEMENT_BITS:
        raise CheckpointError(f"{what} has the unknown element type {shown(dtype)}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"{what} has shape {shown(shape)}, expected at most {MAX_DIMENSIONS} sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{what} has data_offsets {shown(offsets)}, expected a begin and an end")
    bits = math.prod(shape) * ELEMENT_BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        raise CheckpointError(f"{what} of {dtype} {shown(shape)} has the offsets {offsets}, which is not its size")
    return SafetensorsTensor(name, dtype, tuple(shape), base + offsets[0], offsets[1] - offsets[0])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_INTEGER for item in value)


def _check_places(tensors: list[SafetensorsTensor], base: int, size: int, path: str) -> None:
    """Checks that the tensors, by ascending offset, cover the rest of the file without gap or overlap."""
    end, last = base, "the header"
    for tensor in tensors:
        what = f"tensor {shown(tensor.name)}"
        if tensor.offset < end:
            raise CheckpointError(f"{path}: {what} overlaps {last}")
        if tensor.offset > end:
            raise CheckpointError(f"{path}: there are {tensor.offset - end} bytes between {last} and {what}")
        end, last = tensor.offset + tensor.nbytes, what
        if end > size:
            raise CheckpointError(f"{path}: is cut off: {what} ends at byte {end}, but the file has {size}")
    if end != size:
        raise CheckpointError(f"{path}: {size - end} bytes at the end belong to no tensor")
