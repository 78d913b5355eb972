"""Matrices that were rotated along their input when they were made: ``prism.hadamard.*`` of GGUF files (Bonsai 2).

Such a matrix was multiplied with a signed, blockwise Hadamard matrix, and reads ``H (signs * x)``. Files that leave a
reader in doubt are refused: without the rotation they load, and their logits mean nothing.
https://github.com/PrismML-Eng/llama.cpp/pull/121
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Floats, Graph, Op, Value, Vector, Weight
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.hadamard import BlockHadamard, Hadamard
from lutmac.graph.operations.split_groups import SplitGroups
from lutmac.models.metadata import MetadataReader

_PREFIX: Final = "prism.hadamard"
_KEYS: Final = {
    "version", "transform", "axis", "block_size", "sign_mode", "sign_widths", "sign_values", "weight_names",
    "inverse_weight_names", "gdn_v_grouped",
}  # fmt: skip
_TILED: Final = ("qwen35", "qwen35moe")  # architectures whose value heads are in another order than their matrices'
MIN_BLOCK, MAX_BLOCK = 32, 1 << 16  # of the operation


@dataclass(frozen=True, eq=False)
class Rotation:
    """Which of a file's tensors are rotated, by GGUF's names, and how.

    weights: matrices that read a rotated input. tables: embeddings whose rows are rotated. signs: [width] of 1 and -1
    for each width of an input, None: all 1. value_heads: parts of the input of ``ssm_out``, whose heads lie by turns
    and are brought together before they are rotated; empty: as they lie.
    """

    block_size: int
    signs: Mapping[int, Floats] | None
    weights: frozenset[str]
    tables: frozenset[str]
    value_heads: tuple[int, ...] = ()
    _blocks: dict[int, BlockHadamard] = field(default_factory=dict)

    def blocks(self, width: int, tensor: str) -> BlockHadamard:
        """The transform of rows of that width, one object for all. Raises UnsupportedModelError, naming the tensor."""
        if width % self.block_size:
            raise UnsupportedModelError(
                f"{tensor} is rotated in blocks of {self.block_size} ({_PREFIX}.block_size), and is {width} wide"
            )
        if self.signs is not None and width not in self.signs:
            raise UnsupportedModelError(f"{_PREFIX}.sign_widths lacks {width}, the width of {tensor}")
        if width not in self._blocks:
            self._blocks[width] = BlockHadamard(self.block_size, None if self.signs is None else self.signs[width])
        return self._blocks[width]


def read_gguf_rotation(metadata: Mapping[str, Any]) -> Rotation | None:
    """The keys of a file, None where it has none.

    Raises UnsupportedModelError for a value that is not known here, CheckpointError for one that is malformed.
    """
    found = {key.removeprefix(f"{_PREFIX}.") for key in metadata if key.startswith(f"{_PREFIX}.")}
    if not found:
        return None
    if not found <= _KEYS:
        raise UnsupportedModelError(
            f"metadata {_PREFIX}.{min(found - _KEYS)} says of rotated matrices what is not known"
        )
    read = MetadataReader(metadata, _PREFIX)
    for key, known in (
        ("version", (1, 2)),
        ("transform", ("normalized-sylvester-walsh-hadamard",)),
        ("axis", ("input-last-dimension",)),
        ("sign_mode", ("identity", "explicit")),
    ):
        value = read.integer(key) if key == "version" else read.text(key)
        if value not in known:
            names = " and ".join(map(str, known))
            raise UnsupportedModelError(
                f"metadata {_PREFIX}.{key} is {value!r:.60}; of rotated matrices {names} is known"
            )
    size = read.integer("block_size")
    if size & (size - 1) or not MIN_BLOCK <= size <= MAX_BLOCK:
        raise UnsupportedModelError(
            f"metadata {_PREFIX}.block_size is {size}, not a power of two from {MIN_BLOCK} to {MAX_BLOCK}"
        )
    weights = _names(read, "weight_names")
    return Rotation(
        size,
        _signs(read, size) if read.text("sign_mode") == "explicit" else None,
        weights,
        _names(read, "inverse_weight_names") if read.has("inverse_weight_names") else frozenset(),
        _value_heads(read) if any(name.endswith(".ssm_out.weight") for name in weights) else (),
    )


def _names(read: MetadataReader, key: str) -> frozenset[str]:
    value: Any = read.metadata.get(f"{_PREFIX}.{key}")
    names: list[Any] = list(value) if hasattr(value, "__len__") and not isinstance(value, str) else [None]
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"metadata {_PREFIX}.{key} is not an array of tensors' names")
    return frozenset(names)


def _signs(read: MetadataReader, block_size: int) -> dict[int, Floats]:
    """Each width's signs, which stand one after the other."""
    arrays = [np.asarray(read.metadata.get(f"{_PREFIX}.{key}", ())) for key in ("sign_widths", "sign_values")]
    if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in arrays):
        raise CheckpointError(f"metadata {_PREFIX}.sign_widths and sign_values are not arrays of integers")
    widths, values = [int(width) for width in arrays[0]], arrays[1].astype(np.float32)
    if any(width < 1 or width % block_size for width in widths) or len(set(widths)) < len(widths):
        raise CheckpointError(f"metadata {_PREFIX}.sign_widths are not different multiples of {block_size}")
    if sum(widths) != len(values) or not (np.abs(values) == 1).all():
        raise CheckpointError(f"metadata {_PREFIX}.sign_values are not a 1 or -1 for each of {sum(widths)} inputs")
    return dict(zip(widths, np.split(values, np.cumsum(widths)[:-1]), strict=True))


def _value_heads(read: MetadataReader) -> tuple[int, ...]:
    grouped = read.metadata.get(f"{_PREFIX}.gdn_v_grouped", False)
    if not isinstance(grouped, bool | np.bool_):
        raise CheckpointError(f"metadata {_PREFIX}.gdn_v_grouped is {grouped!r:.40}, expected true or false")
    if not grouped:
        return ()
    architecture = str(read.metadata.get("general.architecture"))
    if architecture not in _TILED:
        raise UnsupportedModelError(f"metadata {_PREFIX}.gdn_v_grouped of {architecture!r:.40} is not known")
    sizes = MetadataReader(read.metadata, architecture)
    return (sizes.integer("ssm.inner_size") // sizes.integer("ssm.time_step_rank"),) * sizes.integer("ssm.group_count")


def rotated(graph: Graph, rotation: Rotation, gguf_name: Callable[[str], str]) -> Graph:
    """The same graph, with every product of a rotated matrix reading its input rotated, and lookups rotated back.

    gguf_name: from the graph's names to those of the rotation. Raises UnsupportedModelError where the two do not fit.
    """
    return _Rotating(graph, rotation, gguf_name).run()


class _Rotating:
    def __init__(self, graph: Graph, rotation: Rotation, gguf_name: Callable[[str], str]) -> None:
        self._graph = graph
        self._rotation = rotation
        self._gguf_name = gguf_name
        self._writers = graph.writers()
        self._ops: list[Op] = []
        self._turned: dict[tuple[Value, bool], Value] = {}

    def run(self) -> Graph:
        """The graph."""
        self._check_names()
        for op in self._graph.ops:
            if isinstance(op, Embed) and self._tensor(op.weight) in self._rotation.tables:
                self._look_up(op)
            else:
                self._ops.append(op.reading(self._inputs(op)))
        return Graph(tuple(self._ops))

    def _tensor(self, parameter: Weight | Vector) -> str:
        part = parameter.part if isinstance(parameter, Weight) else None
        return self._gguf_name(parameter.name if part is None else part.stored).partition("[")[0]

    def _check_names(self) -> None:
        """A matrix is rotated for all that read it, and vectors are not."""
        weights, tables = self._rotation.weights, self._rotation.tables
        for vector in self._graph.vectors().values():
            if self._tensor(vector) in weights | tables:
                raise UnsupportedModelError(f"{_PREFIX} names {self._tensor(vector)}, which no product reads")
        matrices = {self._tensor(weight) for weight in self._graph.weights().values()}
        for op in self._graph.ops:
            table = self._tensor(op.weight) if isinstance(op, Embed) else None
            tied = "output.weight" in weights and "output.weight" not in matrices
            if table is not None and table not in tables and (table in weights or tied):
                raise UnsupportedModelError(
                    f"{_PREFIX}.weight_names has the head, and inverse_weight_names not {table}, the same matrix"
                )
        for name in tables:
            if name in matrices and not any(
                isinstance(o, Embed) and self._tensor(o.weight) == name for o in self._graph.ops
            ):
                raise UnsupportedModelError(f"{_PREFIX}.inverse_weight_names has {name}, which is not looked up")

    def _look_up(self, op: Embed) -> None:
        """Rows of a rotated table, rotated back."""
        rows = replace(op.out, name=f"{op.out.name}.rotated")
        blocks = self._rotation.blocks(rows.width, self._tensor(op.weight))
        self._ops += [replace(op, out=rows), Hadamard(blocks, rows, op.out, inverse=True)]

    def _inputs(self, op: Op) -> dict[Value, Value]:
        """What an operation reads in place of values that its matrices want rotated."""
        found: dict[Value, Value] = {}
        for name, weights in op.wants().items():
            tensors = {self._tensor(weight) for weight in weights}
            rotated_ones = tensors & (self._rotation.weights | self._rotation.tables)
            if rotated_ones:
                found[getattr(op, name)] = self._rotate(getattr(op, name), min(rotated_ones))
        return found

    def _rotate(self, x: Value, tensor: str) -> Value:
        grouped = bool(self._rotation.value_heads) and tensor.endswith(".ssm_out.weight")
        if (x, grouped) not in self._turned:
            self._turned[x, grouped] = self._rotation_of(x, tensor, grouped=grouped)
        return self._turned[x, grouped]

    def _rotation_of(self, x: Value, tensor: str, *, grouped: bool) -> Value:
        producer = self._graph.ops[self._writers[x]]
        if producer.MOVES is not None:  # rows that go to several experts are rotated once
            source_field, out_field = producer.MOVES
            source = self._rotate(getattr(producer, source_field), tensor)
            moved = replace(x, name=f"{x.name}.rotated")
            self._ops.append(replace(producer, **{source_field: source, out_field: moved}))
            return moved
        blocks = self._rotation.blocks(x.width, tensor)
        if grouped:
            together = replace(x, name=f"{x.name}.grouped")
            self._ops.append(SplitGroups(x, self._rotation.value_heads, together))
            x = together
        out = replace(x, name=f"{x.name}.rotated")
        self._ops.append(Hadamard(blocks, x, out))
        return out
