"""What can be said about a loaded model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from lutmac.checkpoints.embedding_config import EmbeddingConfig
from lutmac.graph.schedule import Schedule


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in the file. shape: slowest dimension first. type: as the file's format calls it.

    packed_bytes: what it takes in memory as a matrix of its own, packed; 0 where it is none.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int
    packed_bytes: int = 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class LeftOut:
    """Tensors that are not read, and what they are."""

    what: str
    tensors: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class ModelInfo:
    """Figures of a loaded model.

    bits_per_weight: bytes of all tensors in the file over their elements. weight_bytes: packed matrices in memory.
    bytes_per_token: of these, what the products of one token read. cache_bytes: address space of the key-value cache;
    memory is taken as it is used; cache_bytes_per_position of it stand for one token, and sequence_cache_bytes is what
    one sequence of full length keeps, of windowed layers no more than they read. slot_bytes: of it, states of
    fixed size, 0 where there are none. num_slots: room for so many of them; what running sequences leave of it is for
    snapshots. kv_cache: "f16", "f32" or "int8".
    context: positions that this model was loaded for, of trained_context; rope_scaling: how it reaches them, which for
    "longrope" depends on context. left_out: what stands in the files and is not read. embedding: how the file wants
    vectors of texts to be made. sampling: options of sampling that the file recommends, which hold where a caller says
    nothing. ranks: whether it scores documents for a query.
    """

    path: str
    name: str
    architecture: str
    parameters: int
    layers: int
    vocab_size: int
    context: int
    trained_context: int
    rope_scaling: str
    file_bytes: int
    bits_per_weight: float
    weight_bytes: int
    bytes_per_token: int
    cache_bytes: int
    cache_bytes_per_position: int
    sequence_cache_bytes: int
    slot_bytes: int
    num_slots: int
    isa: str
    threads: int
    precision: str
    kv_cache: str
    left_out: tuple[LeftOut, ...]
    embedding: EmbeddingConfig
    sampling: Mapping[str, float]
    tensors: tuple[TensorInfo, ...]
    ranks: bool = False

    @property
    def full_sequences(self) -> int:
        """How many sequences of full length the cache has room for, at the same time."""
        return self.cache_bytes // max(1, self.sequence_cache_bytes)

    @property
    def tensor_types(self) -> dict[str, int]:
        """How many tensors there are of each type, the most frequent first."""
        counts: dict[str, int] = {}
        for tensor in self.tensors:
            counts[tensor.type] = counts.get(tensor.type, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def bits_in_memory(tensors: Iterable[TensorInfo]) -> dict[str, float]:
    """For each type, the bits that a weight of its matrices takes in memory, scales and offsets included."""
    found: dict[str, float] = {}
    matrices = [tensor for tensor in tensors if tensor.packed_bytes]
    for kind in {tensor.type for tensor in matrices}:
        group = [tensor for tensor in matrices if tensor.type == kind]
        found[kind] = 8 * sum(tensor.packed_bytes for tensor in group) / sum(tensor.elements for tensor in group)
    return found


def bytes_per_token(schedule: Schedule) -> int:
    """Bytes of weights that the products of one token read."""
    total = 0
    for call in schedule.calls:
        for name, weights in call.op.wants().items():
            # Of matrices that take their turns, such as experts, a token meets as many as it has rows.
            total += getattr(call.op, name).per_token * sum(weight.nbytes for weight in weights) // len(weights)
    return total
