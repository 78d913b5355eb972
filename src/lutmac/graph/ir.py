"""The graph that a model file builds: a list of operations over named values, in the order of execution.

Every value is written once and every operation is frozen. An operation is one class in one file of ``operations/``;
what printing, passes, placement, verification, lowering, calibration and tests need to know of it stands in that class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lutmac.graph.states import State

Rows = Literal["tokens", "outputs"]
Form = Literal["plain", "tables", "integers", "ternary", "bf16"]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Value:
    """Rows of ``width`` floats in some form, with a name of its own: ``layers.3.q``.

    rows: "tokens" has a row for each token of the step, "outputs" one for each row that wants logits. order: the name
    of the permutation that was applied to the floats before they were turned into the form; None for no permutation.
    per_token: rows of one token, if it has several: one for each expert that it goes to.
    """

    name: str
    width: int
    rows: Rows = "tokens"
    form: Form = "plain"
    order: str | None = None
    per_token: int = 1

    def __hash__(self) -> int:
        """By name only: values are looked up some ten thousand times while a model loads."""
        return hash(self.name)

    @property
    def rows_of(self) -> tuple[Rows, int]:
        """What equal numbers of rows have in common."""
        return self.rows, self.per_token


def unequal_widths(out: Value, *read: Value) -> Iterator[str]:
    """What is wrong where an operation reads rows of other widths than it makes; for ``Op.faults``."""
    if any(value.width != out.width for value in read):
        yield f"it makes {out.width} floats of {' and '.join(str(value.width) for value in read)}"


def unequal_columns(weight: Weight, value: Value) -> Iterator[str]:
    """What is wrong where a matrix's rows have another width than a value's; for ``Op.faults``."""
    if weight.columns != value.width:
        yield f"its matrix has {weight.columns} columns, not {value.width}"


@dataclass(frozen=True)
class Part:
    """Some rows of a matrix that is stored as one: its name, the first of the rows, and how many it has.

    turned: the rows become columns.
    """

    stored: str
    first_row: int
    of_rows: int
    turned: bool = False


@dataclass(frozen=True)
class Weight:
    """A matrix [rows, columns], by the name under which the compiler finds it.

    part: where it lies in a checkpoint that stores it together with others; None: it is stored alone, under its name.
    streamed: its rows are looked up and nothing multiplies it, so that they may be read from the file when needed.
    The other fields are known after packing (``Graph.bound``). form: what its product wants its input turned into.
    order: the name of the permutation that its input must have; equal names are equal permutations. bits, group_size
    and nbytes are for people to read.
    """

    name: str
    rows: int
    columns: int
    form: Form = "plain"
    bits: int = 32
    group_size: int = 0
    nbytes: int = 0
    order: str | None = None
    part: Part | None = None
    streamed: bool = False

    @classmethod
    def part_of(cls, stored: str, rows: int, columns: int, *, first_row: int, of_rows: int) -> Weight:
        """Some rows of a stored matrix: ``model.layers.0.self_attn.qkv_proj.weight[0:64]``."""
        name = f"{stored}[{first_row}:{first_row + rows}]"
        return cls(name, rows, columns, part=Part(stored, first_row, of_rows))

    @classmethod
    def turned_part_of(cls, stored: str, rows: int, columns: int, *, first_row: int, of_rows: int) -> Weight:
        """Some rows of a stored matrix as columns: ``kv_b_proj.weight[0:128].T`` has rows as that has columns."""
        name = f"{stored}[{first_row}:{first_row + columns}].T"
        return cls(name, rows, columns, part=Part(stored, first_row, of_rows, turned=True))

    def __str__(self) -> str:
        """For people: name, shape, bits."""
        group = f", groups of {self.group_size}" if self.group_size and self.group_size < self.columns else ""
        return f"{short_name(self.name)} [{self.rows}x{self.columns}, {self.bits} bits{group}]"


@dataclass(frozen=True)
class Vector:
    """A float32 vector [width] (a norm's weight, a bias), by the name under which the compiler finds it.

    shape: of the tensor that holds it, less dimensions of one; empty: [width].
    """

    name: str
    width: int
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        """For people: name and width."""
        return f"{short_name(self.name)} [{self.width}]"


class Reference(Protocol):
    """Gives an operation's reference in NumPy what is not among its values.

    tokens: [sequences, length] int32, each sequence from position 0. kept: states of the sequences, by name.
    """

    tokens: NDArray[np.int32]
    kept: dict[str, Any]

    def matrix(self, name: str) -> Floats:
        """[rows, columns]."""

    def vector(self, name: str) -> Floats:
        """[width]."""


@dataclass(frozen=True)
class Op:
    """An operation. Its name is its module's, in Python and in C++.

    READS and WRITES name the fields that hold its values. What else is true of it:

    - ROWWISE: it makes each row of its result from the same row of what it reads, so that it can write prepared forms
      of the row beside it or instead.
    - ADDS: its result can be added onto an older value, in that value's buffer.
    - IN_PLACE: results that take over the buffer of a value that is read: {result: value}.
    - JOINS: it runs side by side with neighbours of its kind that do not depend on it.
    - MOVES: it copies rows of the first of these fields to the second, in whatever form they are.
    - STORES: states that it writes; others it reads.
    - BY_KEY_HEADS: in steps of one token it has a task for each key head of its state; two neighbours of one state have
      no wait between them.
    - LOOKS_UP: its matrix is a table of which rows are taken, and it multiplies with none.
    - IDEAL: what it makes is what it reads, but for a rounding that default precision leaves out.
    """

    READS: ClassVar[tuple[str, ...]] = ()
    WRITES: ClassVar[tuple[str, ...]] = ()
    ROWWISE: ClassVar[bool] = False
    ADDS: ClassVar[bool] = False
    IN_PLACE: ClassVar[Mapping[str, str]] = {}
    JOINS: ClassVar[bool] = False
    MOVES: ClassVar[tuple[str, str] | None] = None
    STORES: ClassVar[tuple[str, ...]] = ()
    IDEAL: ClassVar[bool] = False
    LOOKS_UP: ClassVar[bool] = False
    BY_KEY_HEADS: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """``rms_norm`` of ``lutmac.graph.operations.rms_norm``."""
        return cls.__module__.rpartition(".")[2]

    def reads(self) -> tuple[Value, ...]:
        """Values that it reads."""
        return tuple(value for name in self.READS if (value := getattr(self, name)) is not None)

    def writes(self) -> tuple[Value, ...]:
        """Values that it writes."""
        return tuple(getattr(self, name) for name in self.WRITES)

    def taken_over(self) -> dict[Value, Value]:
        """Results that lie in the buffer of a value that is read, and that value."""
        return {getattr(self, out): getattr(self, x) for out, x in self.IN_PLACE.items()}

    def matrices(self) -> tuple[Weight, ...]:
        """Matrices that it works with."""
        return tuple(self._of_type(Weight))

    def vectors(self) -> tuple[Vector, ...]:
        """Vectors that it works with."""
        return tuple(self._of_type(Vector))

    def states(self) -> dict[str, State]:
        """The states that it keeps or reads, by field."""
        return {name: value for name, value in vars(self).items() if isinstance(value, State)}

    def wants(self) -> Mapping[str, tuple[Weight, ...]]:
        """For fields of values, the matrices whose form and order the value must have, which must be the same."""
        return {}

    def reading(self, substitutes: Mapping[Value, Value]) -> Self:
        """The same operation with some of the values it reads replaced."""
        changes = {name: substitutes[x] for name in self.READS if (x := getattr(self, name)) in substitutes}
        return replace(self, **changes) if changes else self

    def with_weights(self, known: Mapping[str, Weight]) -> Self:
        """The same operation with its matrices as they are after packing, by name."""
        changes: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Weight):
                changes[name] = known[value.name]
            elif isinstance(value, tuple) and value and isinstance(value[0], Weight):
                changes[name] = tuple(known[weight.name] for weight in value)
        return replace(self, **changes) if changes else self

    def faults(self) -> Iterator[str]:
        """What is wrong with its widths and rows; for the verifier."""
        yield from ()

    def describe(self) -> str:
        """What `lutmac info --program` prints after its values."""
        return ""

    def divided(self, at: Reference, divisor: Floats) -> Mapping[str, Floats] | None:
        """Its vectors, changed so that its result is divided by ``divisor``; None if vectors cannot express that."""
        return None

    def reference(self, at: Reference, *values: Any) -> Any:
        """What it computes, in NumPy: gets the values read, [rows, width] each; returns those written."""
        raise NotImplementedError(f"{type(self).__name__} has no reference")

    def _of_type(self, kind: type) -> Iterator[Any]:
        for value in vars(self).values():
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, kind):
                    yield item


def layer_of(values: Sequence[Value]) -> int | None:
    """The layer of the first of some values, read from its name; None outside of layers."""
    match = re.match(r"layers\.(\d+)\.", values[0].name) if values else None
    return int(match.group(1)) if match else None


def short_name(name: str) -> str:
    """A name without its layer and without the parts that all names share."""
    return re.sub(r"^(model\.)?(layers\.\d+\.)?", "", name).removesuffix(".weight")


@dataclass(frozen=True)
class Graph:
    """What a model computes in a step: a list of operations in the order of execution."""

    ops: tuple[Op, ...]

    def readers(self) -> dict[Value, list[int]]:
        """For each value, the operations that read it, by place."""
        found: dict[Value, list[int]] = {}
        for index, op in enumerate(self.ops):
            for value in op.reads():
                found.setdefault(value, []).append(index)
        return found

    def writers(self) -> dict[Value, int]:
        """For each value, the operation that writes it, by place."""
        return {value: index for index, op in enumerate(self.ops) for value in op.writes()}

    def bound(self, known: Mapping[str, Weight]) -> Graph:
        """The same graph with its matrices as they are after packing, by name."""
        return Graph(tuple(op.with_weights(known) for op in self.ops))

    def weights(self) -> dict[str, Weight]:
        """Every matrix in use, by name; a tied one appears once."""
        return {weight.name: weight for op in self.ops for weight in op.matrices()}

    def vectors(self) -> dict[str, Vector]:
        """Every vector in use, by name."""
        return {vector.name: vector for op in self.ops for vector in op.vectors()}
