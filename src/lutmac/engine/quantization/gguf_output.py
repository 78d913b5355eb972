"""Quantised models as GGUF files, for the formats that GGUF has to the bit."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.gguf_blocks import BLOCK_TYPES
from lutmac.checkpoints.gguf_encoding import FILE_TYPES, block_bytes, encode, find_type
from lutmac.checkpoints.gguf_types import TENSOR_TYPES
from lutmac.checkpoints.gguf_writer import GGUFEntry, GGUFWriter
from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.quantization.gguf_contents import gguf_contents
from lutmac.engine.quantization.settings import END_GROUP_SIZE, QuantizationSettings
from lutmac.errors import InvalidRequestError
from lutmac.lowbit.matrix import LowBitMatrix, TwoLevel
from lutmac.lowbit.two_level import K_QUANTS, SUPER_BLOCK

F32: Final = 0
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
    gguf_contents(opened).check(lambda columns: _group(settings, columns))


def write_gguf(
    opened: OpenedModel,
    path: Path,
    matrices: dict[str, Callable[[], LowBitMatrix]],
    vectors: dict[str, Callable[[], NDArray[np.float32]]],
) -> dict[str, int]:
    """Writes the file. matrices, vectors: by Hugging Face's names; called one by one.

    Returns the bytes of each matrix.
    """
    kinds = {name: _type_of(opened, name, read()) for name, read in matrices.items()}
    shapes = {name: _shape(opened, name) for name in (*matrices, *vectors)}
    sizes = {name: block_bytes(kinds[name], *shapes[name]) for name in matrices}
    contents = gguf_contents(opened)
    entries = [GGUFEntry(contents.name(name), shapes[name], _NUMBERS[kinds[name]], sizes[name]) for name in matrices]
    entries += [GGUFEntry(contents.name(name), shapes[name], F32, 4 * prod(shapes[name])) for name in vectors]
    entries += [
        GGUFEntry(contents.name(name), values.shape, F32, values.nbytes) for name, values in contents.added.items()
    ]
    common = max(kinds.values(), key=lambda kind: sum(other == kind for other in kinds.values()))
    metadata = contents.metadata | {
        "general.file_type": FILE_TYPES[common],
        "general.quantization_version": QUANTIZATION_VERSION,
    }
    with GGUFWriter(path, metadata, entries) as writer:
        for name, read in matrices.items():
            writer.add(encode(kinds[name], contents.matrix(name, read())))
        for name, read_vector in vectors.items():
            writer.add(contents.vector(name, read_vector()).astype("<f4"))
        for values in contents.added.values():
            writer.add(values.astype("<f4"))
    return sizes


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
    return tuple(size for size in entry.shape if size != 1) or (1,)
