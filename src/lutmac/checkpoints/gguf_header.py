"""The header of a GGUF file: metadata and the tensor directory.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. All of it is treated as hostile: a length, count or
offset is compared with what the file holds before it is used, and memory stays in proportion to the header.
"""

from __future__ import annotations

import itertools
import math
import mmap
import struct
from array import array
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.gguf_metadata import Metadata, MetadataValue, StringArray
from lutmac.checkpoints.gguf_prism import Extent, block_types
from lutmac.checkpoints.gguf_types import TENSOR_TYPES, type_name
from lutmac.errors import CheckpointError

# The largest headers known (vocabulary and merges of half a million entries) are near 16 MiB. The limit bounds the
# time and memory that a file which claims more can cost.
MAX_HEADER_BYTES: Final = 128 << 20
MAX_ENTRIES: Final = 1 << 16  # of metadata, and of tensors; large models have some thousands
MAX_ALIGNMENT: Final = 1 << 20
MAX_DIMENSIONS: Final = 4  # GGML's own limit
DEFAULT_ALIGNMENT: Final = 32
SUPPORTED_VERSIONS: Final = (2, 3)

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_BOOL, _STRING, _ARRAY = 7, 8, 9
_SCALARS = {
    number: struct.Struct("<" + code)
    for number, code in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "B", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
_MIN_ENTRY_BYTES = 8 + 4 + 1  # key length, value type, the smallest value
_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8  # name length, number of dimensions, type, offset


@dataclass(frozen=True)
class GGUFTensor:
    """An entry of the tensor directory.

    shape: NumPy order (the slowest dimension first), so a matrix is (rows M, columns K).
    type_name: GGUF's name, as in "Q4_K"; "type 99" where the number is not known.
    nbytes: bytes in the file; for an unknown type, up to where the next tensor begins. offset: from the file's start.
    part: which of the model's files it lies in.
    """

    name: str
    shape: tuple[int, ...]
    type_number: int
    type_name: str
    nbytes: int
    offset: int
    part: int = 0

    @property
    def elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


class HeaderReader:
    """Reads the header once, front to back.

    data: the mapped file. path: for messages. Every method raises CheckpointError on what it cannot accept.
    """

    def __init__(self, data: mmap.mmap, path: str) -> None:
        """Starts at the file's first byte."""
        self._data = data
        self._path = path
        self._size = len(data)
        self._limit = min(self._size, MAX_HEADER_BYTES)
        self._position = 0

    def read(self) -> tuple[Metadata, dict[str, GGUFTensor]]:
        """Metadata and the tensor directory, in the file's order."""
        num_tensors, num_entries = self._read_counts()
        metadata = Metadata(self._read_metadata(num_entries))
        alignment = self._alignment(metadata)
        entries = [self._read_tensor() for _ in range(num_tensors)]
        base = -(-self._position // alignment) * alignment
        return metadata, self._place(entries, base, alignment)

    def _fail(self, problem: str) -> NoReturn:
        raise CheckpointError(f"{self._path}: {problem}")

    def _need(self, count: int, what: str) -> None:
        """Checks that `count` more bytes are there."""
        if self._position + count <= self._limit:
            return
        if self._limit < self._size:
            self._fail(f"{what} at byte {self._position} runs past the {MAX_HEADER_BYTES >> 20} MiB a header may have")
        self._fail(
            f"truncated or damaged: {what} at byte {self._position} needs {count} bytes, but the file ends at byte "
            f"{self._size}; download it again"
        )

    def _scalar(self, kind: struct.Struct, what: str) -> Any:
        self._need(kind.size, what)
        (value,) = kind.unpack_from(self._data, self._position)
        self._position += kind.size
        return value

    def _count(self, what: str, item_bytes: int, most: int = MAX_HEADER_BYTES) -> int:
        """A count of items that take at least `item_bytes` each: no more than `most`, and in the file."""
        count = int(self._scalar(_U64, what))
        if count > most:
            self._fail(f"damaged: {what} is {count}; {most} is the most that lutmac accepts")
        self._need(count * item_bytes, f"the content that {what} {count} announces")
        return count

    def _text(self, what: str, errors: str = "strict") -> str:
        length = self._count(f"length of {what}", 1)
        raw = self._data[self._position : self._position + length]
        try:
            text = raw.decode("utf-8", errors)
        except UnicodeDecodeError:
            self._fail(f"{what} at byte {self._position} is not UTF-8: {_shown(raw)}")
        self._position += length
        return text

    def _read_counts(self) -> tuple[int, int]:
        magic = self._data[:4]
        if magic != b"GGUF":
            self._fail(f"not a GGUF file: it begins with {magic!r} instead of b'GGUF'")
        self._position = 4
        version = int(self._scalar(_U32, "version"))
        if version & 0xFFFF == 0 and version:
            self._fail("big-endian GGUF, which lutmac does not read; convert it to little-endian")
        if version not in SUPPORTED_VERSIONS:
            self._fail(f"GGUF version {version} is not supported (2 and 3 are); convert the model again")
        num_tensors = self._count("tensor count", _MIN_TENSOR_BYTES, MAX_ENTRIES)
        return num_tensors, self._count("metadata count", _MIN_ENTRY_BYTES, MAX_ENTRIES)

    def _read_metadata(self, count: int) -> dict[str, MetadataValue | StringArray]:
        values: dict[str, MetadataValue | StringArray] = {}
        for _ in range(count):
            key = self._text("metadata key")
            if key in values:
                self._fail(f"metadata key {_shown(key)} occurs twice")
            values[key] = self._value(int(self._scalar(_U32, "value type")), f"metadata {_shown(key)}")
        return values

    def _value(self, kind: int, what: str) -> MetadataValue | StringArray:
        if kind == _STRING:
            return self._text(what, "surrogateescape")
        if kind == _ARRAY:
            return self._array(what)
        if kind not in _SCALARS:
            self._fail(f"{what} has the unknown value type {kind}")
        value: int | float = self._scalar(_SCALARS[kind], what)
        return bool(value) if kind == _BOOL else value

    def _array(self, what: str) -> NDArray[Any] | StringArray:
        kind = int(self._scalar(_U32, f"element type of {what}"))
        if kind == _STRING:
            return self._strings(what)
        if kind not in _SCALARS:
            problem = "is an array of arrays, which lutmac does not read"
            self._fail(f"{what} {problem if kind == _ARRAY else f'has the unknown element type {kind}'}")
        item = _SCALARS[kind]
        count = self._count(f"array length of {what}", item.size)
        raw = self._data[self._position : self._position + count * item.size]
        self._position += len(raw)
        values: NDArray[Any] = np.frombuffer(raw, dtype=item.format)
        return values != 0 if kind == _BOOL else values

    def _strings(self, what: str) -> StringArray:
        """Steps over the strings; half a million of them take 0.2 s, so this loop does the least it can."""
        count = self._count(f"array length of {what}", 8)
        data, position, last = self._data, self._position, self._limit - 8
        length_at = _U64.unpack_from
        starts = array("Q")
        remember = starts.append
        for _ in range(count):
            if position > last:
                break
            remember(position)
            position += 8 + length_at(data, position)[0]
        if position > self._limit:
            self._position = starts[-1]
            self._need(position - starts[-1], f"string {len(starts) - 1} of {what}")
        if len(starts) < count:
            self._position = position
            self._need(8, f"string {len(starts)} of {what}")
        begin, self._position = self._position, position
        starts.append(position)
        return StringArray(data[begin:position], starts)

    def _alignment(self, metadata: Metadata) -> int:
        value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if type(value) is not int or value % 8 or not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):
            self._fail(f"general.alignment is {_shown(value)}, not a power of two from 8 to {MAX_ALIGNMENT}")
        return value

    def _read_tensor(self) -> GGUFTensor:
        """An entry as it stands in the file: its offset is still relative to the data section."""
        name = self._text("tensor name")
        what = f"tensor {_shown(name)}"
        num_dimensions = int(self._scalar(_U32, f"number of dimensions of {what}"))
        if num_dimensions > MAX_DIMENSIONS:
            self._fail(f"{what} has {num_dimensions} dimensions; {MAX_DIMENSIONS} is the most a tensor may have")
        shape = tuple(int(self._scalar(_U64, f"shape of {what}")) for _ in range(num_dimensions))[::-1]
        number = int(self._scalar(_U32, f"type of {what}"))
        offset = int(self._scalar(_U64, f"offset of {what}"))
        if 0 in shape:
            self._fail(f"{what} has shape {shape}: no dimension may be 0")
        nbytes = 0
        if number in TENSOR_TYPES:
            kind = TENSOR_TYPES[number]
            if (shape[-1] if shape else 1) % kind.block_weights:
                self._fail(f"{what} has shape {shape}: rows of {kind.name} come in blocks of {kind.block_weights}")
            nbytes = math.prod(shape) // kind.block_weights * kind.block_bytes
        return GGUFTensor(name, shape, number, type_name(number), nbytes, offset)

    def _place(self, entries: list[GGUFTensor], base: int, alignment: int) -> dict[str, GGUFTensor]:
        """Checks that every tensor lies within the file, apart from the others, and makes offsets absolute."""
        entries = self._with_types_by_size(entries, base, alignment)
        ends: dict[str, int] = {}
        following, follower = self._size, "the end of the file"
        for entry in sorted(entries, key=lambda entry: (entry.offset, entry.nbytes), reverse=True):
            what = f"tensor {_shown(entry.name)}"
            begin = base + entry.offset
            if entry.name in ends:
                self._fail(f"{what} occurs twice")
            if entry.offset % alignment:
                self._fail(f"{what} has offset {entry.offset}, which is no multiple of the alignment {alignment}")
            if begin + entry.nbytes > self._size:
                self._fail(
                    f"{what} ends at byte {begin + entry.nbytes}, but the file has {self._size}: truncated, or its "
                    "offset lies; download it again"
                )
            if begin + entry.nbytes > following:
                self._fail(f"{what} overlaps {follower}")
            ends[entry.name] = begin + entry.nbytes if entry.type_number in TENSOR_TYPES else following
            following, follower = begin, what
        return {
            entry.name: GGUFTensor(
                entry.name, entry.shape, entry.type_number, entry.type_name,
                ends[entry.name] - base - entry.offset, base + entry.offset,
            )
            for entry in entries
        }  # fmt: skip

    def _with_types_by_size(self, entries: list[GGUFTensor], base: int, alignment: int) -> list[GGUFTensor]:
        """The same entries, where a type's number leaves open what it means as their bytes tell; see gguf_prism."""
        begins = sorted({entry.offset for entry in entries})
        ends = dict(itertools.pairwise([*begins, self._size - base]))
        kinds = block_types(
            self._path,
            [
                Extent(e.name, e.shape, e.type_number, ends[e.offset] - e.offset, last=e.offset == begins[-1])
                for e in entries
            ],
            alignment,
        )
        return [
            replace(
                entry,
                type_name=kinds[entry.name].name,
                nbytes=entry.elements // kinds[entry.name].block_weights * kinds[entry.name].block_bytes,
            )
            if entry.name in kinds
            else entry
            for entry in entries
        ]


def _shown(value: object) -> str:
    """repr on one line, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[0]}"
