"""Quantised models as GGUF files, for the formats that GGUF has to the bit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.gguf_blocks import BLOCK_TYPES
from lutmac.checkpoints.gguf_encoding import FILE_TYPES, block_bytes, encode, find_type
from lutmac.checkpoints.gguf_types import TENSOR_TYPES
from lutmac.checkpoints.gguf_writer import F32, GGUFEntry, GGUFWriter
from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.quantization.gguf_contents import FLOATS, Contents, gguf_contents, with_rows
from lutmac.engine.quantization.settings import END_GROUP_SIZE, QuantizationSettings
from lutmac.errors import InvalidRequestError, UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix, TwoLevel
from lutmac.lowbit.reference import dequantize
from lutmac.lowbit.two_level import K_QUANTS, SUPER_BLOCK

_log = logging.getLogger(__name__)
FLOAT: Final = "F32"
QUANTIZATION_VERSION: Final = 2  # of the block layouts, as GGUF counts them
_NUMBERS: Final = {kind.name: number for number, kind in TENSOR_TYPES.items()}


def check_output(opened: OpenedModel, settings: QuantizationSettings) -> None:
    """Raises InvalidRequestError where GGUF cannot hold what the settings ask for.

    And UnsupportedModelError where it cannot describe the model.
    """
    if settings.average_bits is not None or settings.method in ("afpq", "mofq"):
        raise InvalidRequestError("GGUF can be written by rtn, gptq, awq and ternary at one number of bits")
    ends = [find_type(bits, END_GROUP_SIZE, offset=False) for bits in (settings.embedding_bits, settings.head_bits)]
    if settings.method == "ternary":
        layers = settings.group_size is None
    else:
        offset = not settings.symmetric
        layers = bool(settings.tensor_type or find_type(settings.bits, settings.group_size or 0, offset=offset))
    if not layers or None in ends:
        raise InvalidRequestError(
            "GGUF can hold 4 and 5 bits, and symmetric 8 bits, in groups of 32, symmetric 2 bits in groups of 64, "
            "1 bit in groups of 128, ternary weights in rows, K-quants by their type, and embedding and head of 4, 5 "
            "or 8 bits"
        )
    contents = gguf_contents(opened)
    contents.check(lambda columns: _group(settings, columns))
    lost = [name for name in contents.lost if not opened.source.is_zero(opened.source.file_name(name))]
    if lost:
        _log.warning("%s: GGUF has no bias of experts, so %s will be missing", opened.path, min(lost))


def write_gguf(
    opened: OpenedModel,
    path: Path,
    matrices: dict[str, Callable[[], LowBitMatrix]],
    vectors: dict[str, Callable[[], NDArray[np.float32]]],
) -> dict[str, int]:
    """Writes the file. matrices, vectors: by Hugging Face's names; called one by one.

    Returns the bytes of each matrix.
    """
    contents = gguf_contents(opened)
    vectors = {name: read for name, read in vectors.items() if name not in contents.left_out}
    matrices = {name: read for name, read in matrices.items() if name not in contents.left_out}
    parts = {name: contents.parts(name) for name in matrices}
    made = {
        part: partial(_converted, contents, part, matrices[name], rows)
        for name, found in parts.items()
        for part, rows in found.items()
    }
    types = {name: FLOAT if name in FLOATS else _type_of(opened, name, read()) for name, read in matrices.items()}
    kinds = {part: types[name] for name, found in parts.items() for part in found}
    shapes = {name: _size(read()) for name, read in made.items()} | {
        name: contents.shape(name, _shape(opened, name)) for name in vectors
    }
    sizes = {
        name: 4 * prod(shapes[name]) if kinds[name] == FLOAT else block_bytes(kinds[name], *shapes[name])
        for name in made
    }
    tensors = [_Tensor.of(contents, names, shapes) for names in _grouped(contents, (*made, *vectors))]
    entries = [tensor.entry(kinds, sizes) for tensor in tensors]
    entries += [
        GGUFEntry(contents.name(name), values.shape, F32, values.nbytes) for name, values in contents.added.items()
    ]
    low_bit = [kind for kind in kinds.values() if kind != FLOAT]
    common = max(low_bit, key=low_bit.count)
    metadata = contents.metadata | {
        "general.file_type": FILE_TYPES[common],
        "general.quantization_version": QUANTIZATION_VERSION,
    }
    with GGUFWriter(path, metadata, entries) as writer:
        for tensor in tensors:
            for name in tensor.parts:
                if name in made:
                    writer.add_part(_encoded(kinds[name], made[name]()))
                else:
                    writer.add_part(contents.vector(name, vectors[name]()).astype("<f4"))
            writer.end()
        for values in contents.added.values():
            writer.add(values.astype("<f4"))
    return {name: sum(sizes[part] for part in found) for name, found in parts.items()}


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the file: one of the model's, the matrices (or vectors) that are stacked in it, or the rows of a
    joint matrix, by their Hugging Face names."""

    name: str
    parts: tuple[str, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, contents: Contents, parts: list[str], shapes: Mapping[str, tuple[int, ...]]) -> _Tensor:
        """Raises UnsupportedModelError where parts are missing or have sizes of their own."""
        name, _, place = contents.name(parts[0]).partition("[")
        first = shapes[parts[0]]
        if not place:
            return cls(name, tuple(parts), first)
        of_each: dict[
            int, list[tuple[int, ...]]
        ] = {}  # in a stack, the shapes of what each of its matrices consists of
        for part in parts:
            of_each.setdefault(_place(contents.name(part))[0], []).append(shapes[part])
        joint = [(sum(shape[0] for shape in found), *found[0][1:]) for found in of_each.values()]
        if list(of_each) != list(range(len(of_each))) or len(set(joint)) > 1:
            raise UnsupportedModelError(f"{name}: GGUF has stacks of as many as there are, all of one size")
        is_stack = "[" in place or ":" not in place
        whole = joint[0] if ":" in place else first
        return cls(name, tuple(parts), (len(of_each), *whole) if is_stack else whole)

    def entry(self, kinds: Mapping[str, str], sizes: Mapping[str, int]) -> GGUFEntry:
        """The file's entry. kinds, sizes: type and bytes of each matrix."""
        of_parts = {kinds.get(part) for part in self.parts}
        if len(of_parts) > 1:
            raise UnsupportedModelError(
                f"{self.name} would be of several types: {', '.join(sorted(map(str, of_parts)))}"
            )
        kind = of_parts.pop()
        if kind is None:
            return GGUFEntry(self.name, self.shape, F32, 4 * prod(self.shape))
        return GGUFEntry(self.name, self.shape, _NUMBERS[kind], sum(sizes[part] for part in self.parts))


def _grouped(contents: Contents, names: Iterable[str]) -> list[list[str]]:
    """The names of each of the file's tensors, in the order in which they lie in it."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(contents.name(name).partition("[")[0], []).append(name)
    return [sorted(group, key=lambda name: _place(contents.name(name))) for group in found.values()]


def _place(name: str) -> tuple[int, int]:
    """Where in a tensor something lies: which of a stack (``[3]``), and from which row on (``[64:128]``)."""
    index, rows = re.search(r"\[(\d+)\]$", name), re.search(r"\[(\d+):\d+\]", name)
    return int(index[1]) if index else 0, int(rows[1]) if rows else 0


def _encoded(kind: str, matrix: LowBitMatrix) -> NDArray[Any]:
    return dequantize(matrix).astype("<f4") if kind == FLOAT else encode(kind, matrix)


def _converted(
    contents: Contents, name: str, read: Callable[[], LowBitMatrix], rows: NDArray[np.intp] | None
) -> LowBitMatrix:
    matrix = read()
    return contents.matrix(name, matrix if rows is None else with_rows(matrix, rows))


def _size(matrix: LowBitMatrix) -> tuple[int, ...]:
    return matrix.rows, matrix.columns


def _type_of(opened: OpenedModel, name: str, matrix: LowBitMatrix) -> str:
    if matrix.ternary:
        kind: str | None = "TQ2_0"
    elif isinstance(matrix.scale, TwoLevel):
        kind = next(
            kind for kind, own in K_QUANTS.items() if (own.bits, own.group_size) == (matrix.bits, matrix.group_size)
        )
    else:
        kind = find_type(matrix.bits, matrix.group_size, offset=matrix.offset is not None)
    assert kind is not None
    width = BLOCK_TYPES[kind].layout.block_weights
    if matrix.columns % width:
        raise InvalidRequestError(f"{opened.path}: {name} has rows of {matrix.columns}, and {kind} blocks of {width}")
    return kind


def _group(settings: QuantizationSettings, columns: int) -> int:
    """Weights of a row that cannot be parted; 1 where all of it have one scale."""
    return SUPER_BLOCK if settings.k_quant(columns) else settings.for_columns(columns).group_size or 1


def _shape(opened: OpenedModel, name: str) -> tuple[int, ...]:
    entry = opened.source.find(name)
    assert entry is not None
    return tuple(entry.shape)
