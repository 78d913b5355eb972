"""A packed matrix as arrays, for files and pickles: its bytes in the packing that they have, and what they are.

The arrays are ``description``, JSON as uint8 (the fields of its shape, the packing, the columns without padding),
and the parts by name. Another CPU unpacks them and packs them anew.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from lutmac import _native
from lutmac.errors import CheckpointError
from lutmac.lowbit.packed import ALIGNMENT, Bytes, is_known_packing, packing_name, parts, unpack
from lutmac.lowbit.packing import pack

VERSION: Final = 1
DESCRIPTION: Final = "description"


def to_arrays(matrix: _native.Matrix, columns: int, target: str) -> dict[str, Bytes]:
    """The arrays of a matrix in the target's packing, of which ``columns`` are not padding."""
    described = {
        "version": VERSION,
        "packing": packing_name(target),
        "columns": columns,
        "matrix": matrix.shape.fields(),
    }
    return {DESCRIPTION: np.frombuffer(json.dumps(described).encode(), np.uint8), **parts(matrix)}


def from_arrays(arrays: Mapping[str, Bytes], where: str, *, target: str) -> tuple[_native.Matrix, int]:
    """The matrix, packed for the target, and its columns. where: for errors. Raises CheckpointError."""
    try:
        described = json.loads(arrays[DESCRIPTION].tobytes())
        if described["version"] != VERSION:
            raise CheckpointError(f"{where}: version {described['version']} of the format, expected {VERSION}")
        packing, shape = described["packing"], _native.MatrixShape(described["matrix"])
        if not is_known_packing(packing) or shape.part_names[0] != "codes":
            raise CheckpointError(f"{where}: its packing {packing!r} is of another version of lutmac")
        columns = described["columns"]
        if type(columns) is not int or not 0 < columns <= shape.columns:
            raise ValueError(f"{columns!r} columns of {shape.columns}")
        found = [_aligned(arrays[name]) for name in shape.part_names]
        if packing_name(target) == packing:
            return _native.map_matrix(shape, found, target=target), columns
        return pack(unpack(shape, found, packing=packing), target=target, threads=_native.default_threads()), columns
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{where}: holds no quantised matrix: {error}") from None


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Bytes]) -> None:
    """Writes a .npz file; what is unfinished has another name. Raises CheckpointError where that cannot be done."""
    unfinished = Path(f"{os.fspath(path)}.partial")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise CheckpointError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from None


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Bytes]:
    """What ``write_arrays`` wrote. Raises CheckpointError."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: np.asarray(found[name], np.uint8) for name in found.files}
    except OSError as error:
        raise CheckpointError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{os.fspath(path)}: is no saved matrix: {error}") from None


def _aligned(data: Bytes) -> Any:
    """The bytes where kernels can read them."""
    room = np.empty(len(data) + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    aligned = room[start : start + len(data)]
    aligned[:] = data
    aligned.flags.writeable = False
    return aligned
