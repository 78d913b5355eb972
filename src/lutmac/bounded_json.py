"""JSON from files that nobody vouches for: bounded in size, depth and memory, and strict about repeated keys."""

from __future__ import annotations

import json
import os
import reprlib
from pathlib import Path
from typing import Any, Final

from lutmac.errors import CheckpointError

MAX_FILE_BYTES: Final = 64 << 20  # the largest tokenizer.json seen has 33 MB
_STRUCTURE: Final = (b"{", b"[", b",", b":")
# A value costs at most about this many bytes of Python objects: `{"":0}`, with two structural characters, is a
# dictionary of one entry.
_BYTES_PER_STRUCTURAL: Final = 128
_MEMORY: Final = 48 << 20

_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong = 3, 80, 40


def parse_json(data: bytes, what: str, *, memory: int = _MEMORY) -> Any:
    """The value that UTF-8 JSON text stands for. ``what`` names it in errors.

    memory: bytes of Python objects that it may become. Raises CheckpointError where it is no JSON, repeats a key,
    nests too deep or would take more than that.
    """
    estimate = sum(data.count(character) for character in _STRUCTURE) * _BYTES_PER_STRUCTURAL
    if estimate > memory:
        raise CheckpointError(f"{what}: has too many values: {len(data)} bytes of JSON that take {estimate} in memory")
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise CheckpointError(f"{what}: nests too deep") from None
    except ValueError as error:  # json's and UTF-8's errors, integers of too many digits, and the hooks' below
        raise CheckpointError(f"{what}: is not valid JSON: {str(error)[:200]}") from None


def read_json_object(path: str | os.PathLike[str], *, memory: int = 8 * MAX_FILE_BYTES) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError where there is none."""
    where = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise CheckpointError(f"{where}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{where}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise CheckpointError(f"{where}: has more than {MAX_FILE_BYTES} bytes")
    value = parse_json(data.removeprefix(b"\xef\xbb\xbf"), where, memory=memory)
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: holds {type(value).__name__}, expected a JSON object")
    return value


def read_optional_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where there is no such file."""
    return read_json_object(path) if path.is_file() else {}


def shown(value: object) -> str:
    """A value of hostile JSON on one line, short enough for a message."""
    return _SHORT.repr(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"key {shown(repeated)} occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
