"""Quantised models as GGUF files, for the formats that GGUF has to the bit."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.gguf import open_gguf
from lutmac.checkpoints.gguf_writer import GGUFEntry, GGUFWriter
from lutmac.engine.convert import gguf_metadata
from lutmac.engine.opened import OpenedModel
from lutmac.engine.quantization.settings import END_GROUP_SIZE, QuantizationSettings
from lutmac.errors import InvalidRequestError
from lutmac.lowbit.matrix import LowBitMatrix

Array = NDArray[Any]
F32: Final = 0
QUANTIZATION_VERSION: Final = 2  # of the block layouts, as GGUF counts them


@dataclass(frozen=True)
class BlockType:
    """A tensor type. number: as ggml numbers it. file_type: what a file of it says in general.file_type.

    encode: scale, offset and codes [blocks, block_weights] to blocks of bytes.
    """

    name: str
    number: int
    file_type: int
    block_weights: int
    encode: Callable[[Array, Array | None, Array], Array]


def _bytes(*parts: Array) -> Array:
    """Parts [blocks, n] of any type side by side, as bytes."""
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=1)


def _halves(scale: Array) -> Array:
    return scale.astype("<f2").reshape(-1, 1)


def _nibbles(codes: Array) -> Array:
    return np.asarray(codes[:, :16] & 15 | codes[:, 16:] << 4, np.uint8)


def _fifth_bits(codes: Array) -> Array:
    return np.packbits(codes >> 4, axis=1, bitorder="little")


def _q4_1(scale: Array, offset: Array | None, codes: Array) -> Array:
    assert offset is not None
    return _bytes(_halves(scale), _halves(offset), _nibbles(codes))


def _q5_1(scale: Array, offset: Array | None, codes: Array) -> Array:
    assert offset is not None
    return _bytes(_halves(scale), _halves(offset), _fifth_bits(codes), _nibbles(codes & 15))


def _tq2_0(scale: Array, offset: Array | None, codes: Array) -> Array:
    fields = codes.reshape(-1, 2, 4, 32)  # two runs of 128; a byte holds one weight of each 32 of them
    packed = sum(fields[:, :, n] << 2 * n for n in range(4))
    return _bytes(np.asarray(packed, np.uint8).reshape(-1, 64), _halves(scale))


# By bits, group size (0: rows) and whether there is an offset.
_TYPES: Final = {
    (4, 32, False): BlockType("Q4_0", 2, 2, 32, lambda s, _, q: _bytes(_halves(s), _nibbles(q))),
    (4, 32, True): BlockType("Q4_1", 3, 3, 32, _q4_1),
    (5, 32, False): BlockType("Q5_0", 6, 8, 32, lambda s, _, q: _bytes(_halves(s), _fifth_bits(q), _nibbles(q & 15))),
    (5, 32, True): BlockType("Q5_1", 7, 9, 32, _q5_1),
    (8, 32, False): BlockType("Q8_0", 8, 7, 32, lambda s, _, q: _bytes(_halves(s), q ^ 0x80)),
    (2, 0, False): BlockType("TQ2_0", 35, 37, 256, _tq2_0),
}


def check_output(opened: OpenedModel, settings: QuantizationSettings) -> None:
    """Raises InvalidRequestError where GGUF cannot hold what the settings ask for, or the source lacks its metadata."""
    if opened.path.is_dir():
        raise InvalidRequestError(
            f"{opened.path}: GGUF can be written from a GGUF file only: what it says of the model is copied"
        )
    if settings.average_bits is not None or settings.method in ("afpq", "mofq"):
        raise InvalidRequestError("GGUF can be written by rtn, gptq, awq and ternary at one number of bits")
    bits = 2 if settings.method == "ternary" else settings.bits
    kind = bits, settings.group_size or 0, settings.method != "ternary" and not settings.symmetric
    ends = [(count, END_GROUP_SIZE, False) for count in (settings.embedding_bits, settings.head_bits)]
    if kind not in _TYPES or (kind[1] == 0) != (settings.method == "ternary") or not all(end in _TYPES for end in ends):
        raise InvalidRequestError(
            "GGUF can hold 4 and 5 bits, and symmetric 8 bits, in groups of 32, ternary weights in rows, and embedding "
            "and head of 4, 5 or 8 bits"
        )


def write_gguf(
    opened: OpenedModel,
    destination: Path,
    matrices: dict[str, Callable[[], LowBitMatrix]],
    vectors: dict[str, Callable[[], NDArray[np.float32]]],
) -> dict[str, int]:
    """Writes the file under another name first. matrices, vectors: by Hugging Face's names; called one by one.

    Returns the bytes of each matrix.
    """
    kinds = {name: _type_of(opened, name, read()) for name, read in matrices.items()}
    shapes = {name: _shape(opened, name) for name in (*matrices, *vectors)}
    sizes = {name: _bytes_of(kinds[name], shapes[name]) for name in matrices}
    entries = [
        GGUFEntry(opened.source.file_name(name), shapes[name], kinds[name].number, sizes[name]) for name in matrices
    ]
    entries += [GGUFEntry(opened.source.file_name(name), shapes[name], F32, 4 * shapes[name][0]) for name in vectors]
    with open_gguf(opened.path) as file:
        metadata = gguf_metadata(file)
    common = max(kinds.values(), key=lambda kind: sum(other is kind for other in kinds.values()))
    metadata |= {"general.file_type": common.file_type, "general.quantization_version": QUANTIZATION_VERSION}
    partial = destination.with_name(f"{destination.name}.partial")
    with GGUFWriter(partial, metadata, entries) as writer:
        for name, read in matrices.items():
            writer.add(encode(kinds[name], read()))
        for read_vector in vectors.values():
            writer.add(read_vector().astype("<f4"))
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(partial, destination)
    return sizes


def encode(kind: BlockType, matrix: LowBitMatrix) -> Array:
    """The matrix as blocks of that type, [blocks, bytes]."""
    per_group = matrix.columns // kind.block_weights if matrix.ternary else 1
    scale = np.repeat(np.asarray(matrix.scale), per_group, axis=1).reshape(-1)
    offset = None if matrix.offset is None else np.asarray(matrix.offset).reshape(-1)
    return kind.encode(scale, offset, matrix.source.reshape(-1, kind.block_weights))


def _type_of(opened: OpenedModel, name: str, matrix: LowBitMatrix) -> BlockType:
    kind = _TYPES[matrix.bits, 0 if matrix.ternary else matrix.group_size, matrix.offset is not None]
    if matrix.columns % kind.block_weights:
        raise InvalidRequestError(
            f"{opened.path}: {name} has rows of {matrix.columns}, and {kind.name} blocks of {kind.block_weights}"
        )
    return kind


def _shape(opened: OpenedModel, name: str) -> tuple[int, ...]:
    entry = opened.source.find(name)
    assert entry is not None
    return tuple(entry.shape)


def _bytes_of(kind: BlockType, shape: tuple[int, ...]) -> int:
    blocks = shape[0] * shape[1] // kind.block_weights
    one = kind.encode(np.zeros(1), np.zeros(1), np.zeros((1, kind.block_weights), np.uint8))
    return blocks * int(one.shape[1])
