"""Tensor types of Prism's converter, whose numbers alone do not say what they are: the bytes of each tensor do.

Its older files have number 42 with 128 weights to a block, for which the format has 64. GGUF stores no sizes, so the
distance to what follows a tensor tells. https://github.com/ggml-org/llama.cpp/issues/29058
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lutmac.checkpoints.gguf_types import PRISM_TYPES, Q2_0, TENSOR_TYPES, TensorType
from lutmac.errors import CheckpointError

_PQ2_0: Final = TENSOR_TYPES[PRISM_TYPES[0]]


@dataclass(frozen=True)
class Extent:
    """A tensor, and the bytes from its first one to the next tensor's, or to the file's end (last).

    What is truncated and what overlaps is told for all types, in gguf_header.
    """

    name: str
    shape: tuple[int, ...]
    type_number: int
    room: int
    last: bool


def block_types(path: str, extents: Sequence[Extent], alignment: int) -> dict[str, TensorType]:
    """What tensors of Prism's types and of number 42 are, by name; others are not in it.

    path: for messages. Files have one meaning of 42: that for which all of its tensors have room. Raises
    CheckpointError, naming the tensor, where its bytes are not those of its type.
    """
    twos = [extent for extent in extents if extent.type_number == Q2_0]
    narrow = TENSOR_TYPES[Q2_0]
    old = any((_bytes(extent, _PQ2_0) or math.inf) <= extent.room < (_bytes(extent, narrow) or 0) for extent in twos)
    found = {extent.name: _PQ2_0 if old else narrow for extent in twos}
    found |= {e.name: TENSOR_TYPES[e.type_number] for e in extents if e.type_number in PRISM_TYPES}
    for extent in extents:
        kind = found.get(extent.name)
        if kind is None or kind is narrow:
            continue
        nbytes = _bytes(extent, kind)
        if nbytes is None or not (extent.last or 0 <= extent.room - nbytes < alignment):
            raise CheckpointError(f"{path}: {_problem(extent, kind, nbytes)}")
    return found


def _bytes(extent: Extent, kind: TensorType) -> int | None:
    """Of a tensor in that type, None where its rows are not whole blocks."""
    if (extent.shape[-1] if extent.shape else 1) % kind.block_weights:
        return None
    return math.prod(extent.shape) // kind.block_weights * kind.block_bytes


def _problem(extent: Extent, kind: TensorType, nbytes: int | None) -> str:
    what = f"tensor {extent.name!r:.80} of type {extent.type_number}"
    if nbytes is None:
        return f"{what} has shape {extent.shape}: rows of {kind.name} come in blocks of {kind.block_weights}"
    sizes = f"{nbytes} bytes in {kind.name}"
    if extent.type_number == Q2_0:
        sizes = f"{_bytes(extent, TENSOR_TYPES[Q2_0])} bytes in groups of 64 and {nbytes} in groups of 128"
    return (
        f"{what} has {extent.room} bytes up to what follows it, and shape {extent.shape} takes {sizes}: the file is "
        "damaged, or that number means another type in it"
    )
