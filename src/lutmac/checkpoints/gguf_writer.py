"""Writes GGUF files, version 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.closable import Closable

ALIGNMENT: Final = 32
F32: Final = 0  # ggml's number of the type
_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS: Final = {"u1": 0, "i1": 1, "u2": 2, "i2": 3, "u4": 4, "i4": 5, "f4": 6, "b1": 7, "u8": 10, "i8": 11, "f8": 12}


@dataclass(frozen=True)
class GGUFEntry:
    """A tensor to be written. shape: slowest dimension first. type_number: as ggml numbers its types."""

    name: str
    shape: tuple[int, ...]
    type_number: int
    nbytes: int


class GGUFWriter(Closable):
    """Writes the header at once, then the tensors' bytes in the order of their entries. Use it in a ``with``."""

    def __init__(self, path: Path, metadata: Mapping[str, Any], entries: Sequence[GGUFEntry] = ()) -> None:
        """metadata: as a GGUFFile has it: scalars, lists of strings, NumPy arrays."""
        self._file: IO[bytes] = path.open("wb")
        self._file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(entries), len(metadata)))
        for key, value in metadata.items():
            self._file.write(_string(key) + _value(value))
        offset = 0
        for entry in entries:
            shape = entry.shape[::-1]
            self._file.write(_string(entry.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            self._file.write(struct.pack("<IQ", entry.type_number, offset))
            offset += -(-entry.nbytes // ALIGNMENT) * ALIGNMENT
        self._pad()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def add(self, data: NDArray[Any]) -> None:
        """The bytes of the next tensor."""
        self.add_part(data)
        self.end()

    def add_part(self, data: NDArray[Any]) -> None:
        """Some bytes of the next tensor, which `end` ends."""
        self._file.write(np.ascontiguousarray(data).data)

    def end(self) -> None:
        """The tensor is complete."""
        self._pad()

    def _pad(self) -> None:
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """A value after its type. Numbers take the narrowest of the types that files usually have them in."""
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case list():
            return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))
        case np.ndarray():
            data = value.astype(value.dtype.newbyteorder("<"))
            number = _NUMBERS[f"{data.dtype.kind}{data.dtype.itemsize}"]
            return struct.pack("<IIQ", _ARRAY, number, len(data)) + data.tobytes()
        case int():
            kind = next(kind for kind in ("u4", "i4", "u8", "i8") if _fits(value, kind))
        case _:
            kind = "f4" if float(np.float32(value)) == float(value) else "f8"
    return struct.pack("<I", _NUMBERS[kind]) + np.array(value, f"<{kind}").tobytes()


def _fits(value: int, kind: str) -> bool:
    limits = np.iinfo(kind)
    return int(limits.min) <= value <= int(limits.max)
