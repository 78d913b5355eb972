"""Writes the native format: streaming, and so that nothing unfinished looks complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.checkpoints.native import CONFIG_FILE, CONFIG_KEY, TENSORS_FILE, VERSION
from lutmac.closable import Closable
from lutmac.errors import CheckpointError
from lutmac.lowbit.packed import ALIGNMENT, packing_name, parts

PAGE: Final = 4096
# What a tensor's entry in the header may take beside its name, which it has up to eight times: two codebooks of 16
# values, twice quoted, and seven entries of at most 120 characters.
_ENTRY_BYTES: Final = 2400


class NativeWriter(Closable):
    """Writes matrices and vectors to a directory, one after another. Use it in a ``with``; ``finish`` completes it."""

    def __init__(self, directory: Path, *, target: str, names: Iterable[str]) -> None:
        """target: whose packing the matrices have. names: of all tensors to come; the header gets room for them."""
        self._path = directory / TENSORS_FILE
        self._target = target
        self._names = set(names)
        room = sum(_ENTRY_BYTES + 9 * len(name.encode()) for name in self._names)
        self._begin = -(-(room + 1024) // PAGE) * PAGE
        self._places: dict[str, tuple[str, list[int], int, int]] = {}
        self._listed: dict[str, dict[str, Any]] = {}
        self._end = 0
        self._file: IO[bytes] = self._path.open("wb")
        self._file.seek(self._begin)

    def close(self) -> None:
        """Closes the file, complete or not."""
        self._file.close()

    def add_matrix(self, name: str, matrix: _native.Matrix, order: NDArray[np.int32] | None) -> int:
        """A packed matrix and its input permutation. Returns the bytes that it takes."""
        before = self._end
        self._listed[name] = matrix.shape.fields() | ({} if order is None else {"ordered": True})
        for part, data in parts(matrix).items():
            self._write(f"{name}:{part}", "U8", data)
        if order is not None:
            self._write(f"{name}:order", "I32", np.ascontiguousarray(order, np.int32))
        return self._end - before

    def add_vector(self, name: str, values: NDArray[np.float32]) -> None:
        """A vector."""
        padded = np.zeros(-(-len(values) * 4 // ALIGNMENT) * ALIGNMENT // 4, np.float32)
        padded[: len(values)] = values
        self._listed[name] = {"width": len(values)}
        self._write(name, "F32", padded)

    def finish(self) -> None:
        """Writes the header, without which the file is none."""
        metadata = {
            "format": CONFIG_KEY,
            "version": str(VERSION),
            "packing": packing_name(self._target),
            "tensors": json.dumps(self._listed, separators=(",", ":"), ensure_ascii=False),
        }
        entries = {
            name: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
            for name, (dtype, shape, begin, end) in self._places.items()
        }
        header = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":"), ensure_ascii=False).encode()
        room = self._begin - 8
        if len(header) > room:
            raise AssertionError(f"a header of {len(header)} bytes, there is room for {room}")
        self._file.seek(0)
        self._file.write(room.to_bytes(8, "little") + header.ljust(room))
        self._file.close()

    def _write(self, name: str, dtype: str, data: NDArray[Any]) -> None:
        if data.nbytes % ALIGNMENT:
            raise AssertionError(f"{name} has {data.nbytes} bytes")
        self._file.write(data.data)
        self._places[name] = (dtype, list(data.shape), self._end, self._end + data.nbytes)
        self._end += data.nbytes


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """config.json of a native directory: another's, and the mark of this format."""
    text = json.dumps({**config, CONFIG_KEY: {"version": VERSION}}, ensure_ascii=False, indent=2)
    (directory / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def copy_files(source: Path, files: Sequence[str], directory: Path) -> None:
    """Copies those of the files (globs) that are there."""
    for pattern in files:
        for path in sorted(source.glob(pattern)):
            place = directory / path.relative_to(source)
            place.parent.mkdir(exist_ok=True)
            try:
                shutil.copyfile(path, place)
            except OSError as error:
                raise CheckpointError(f"{path}: cannot be copied: {error.strerror}") from None
