"""Models that are split over several GGUF files, ``name-00001-of-00003.gguf`` and so on.

Format: metadata ``split.no``, ``split.count`` and ``split.tensors.count`` in every file; the first one has all other
metadata (https://github.com/ggml-org/llama.cpp/tree/master/tools/gguf-split).
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lutmac.checkpoints.gguf_header import GGUFTensor, HeaderReader
from lutmac.checkpoints.gguf_metadata import Metadata
from lutmac.checkpoints.mapped_file import map_file
from lutmac.errors import CheckpointError

MAX_PARTS = 1024  # more than the largest models have; every part keeps a file open
_PART = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """One file of a model: the whole of most."""

    path: str
    mapped: mmap.mmap
    metadata: Metadata
    tensors: dict[str, GGUFTensor]


def part_names(name: str) -> list[str]:
    """The names of all files of the model that a file of this name is a part of, the first one first."""
    match = _PART.fullmatch(name)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
        return [name]
    return [f"{match['stem']}-{i + 1:05d}-of-{match['count']}.gguf" for i in range(int(match["count"]))]


def open_parts(path: str) -> list[Part]:
    """Opens a file, and with a part of a split model, whichever it is, all the others. The first part comes first.

    Raises CheckpointError where one cannot be read, is missing, or says that it belongs elsewhere.
    """
    given = _open(path)
    count = given.metadata.get("split.count", 1)
    if type(count) is not int or not 0 <= count <= MAX_PARTS:
        raise CheckpointError(f"{path}: split.count is {count!r}, not a number up to {MAX_PARTS}")
    if count <= 1:
        return [given]
    folder, name = os.path.split(path)
    names = part_names(name)
    if len(names) != count:
        raise CheckpointError(
            f"{path}: is one of the {count} files of a model; they must be named as in model-00001-of-{count:05d}.gguf"
        )
    parts = [given if part == name else _open(os.path.join(folder, part)) for part in names]
    _check(parts)
    return [
        replace(part, tensors={name: replace(tensor, part=i) for name, tensor in part.tensors.items()})
        for i, part in enumerate(parts)
    ]


def joined_tensors(parts: list[Part]) -> dict[str, GGUFTensor]:
    """The tensors of all parts, in the files' order. Raises CheckpointError where one occurs twice."""
    tensors: dict[str, GGUFTensor] = {}
    for part in parts:
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise CheckpointError(f"{part.path}: tensor {name!r} is in {parts[tensors[name].part].path} too")
            tensors[name] = tensor
    return tensors


def _open(path: str) -> Part:
    mapped = map_file(path)
    metadata, tensors = HeaderReader(mapped, path).read()
    return Part(path, mapped, metadata, tensors)


def _check(parts: list[Part]) -> None:
    for i, part in enumerate(parts):
        for key, expected in (("split.no", i), ("split.count", len(parts))):
            _expect(part.path, part.metadata, key, expected)
    total = sum(len(part.tensors) for part in parts)
    if "split.tensors.count" in parts[0].metadata:
        _expect(parts[0].path, parts[0].metadata, "split.tensors.count", total)


def _expect(path: str, metadata: Mapping[str, object], key: str, expected: int) -> None:
    if metadata.get(key) != expected:
        raise CheckpointError(
            f"{path}: {key} is {metadata.get(key)!r}, expected {expected}: it does not belong to the other files"
        )
