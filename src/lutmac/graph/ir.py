"""The graph that a model file builds: a list of operations over named values, in the order of execution.

Every value is written once and every operation is frozen; a pass takes a graph and returns another. Models use the
plain operations (Embed to Logits); passes add prepared values, residuals and groups of products, and turn Activation
and Multiply into GatedActivation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, Self

Rows = Literal["tokens", "outputs"]
Form = Literal["plain", "tables", "integers", "ternary"]
ActivationKind = Literal["silu", "gelu_tanh", "gelu", "relu_squared"]
RopeStyle = Literal["half_split", "interleaved"]


@dataclass(frozen=True)
class Value:
    """Rows of ``width`` floats in some form, under a name of its own: ``layers.3.q``.

    rows: "tokens" has a row for each token of the step, "outputs" one for each row that wants logits. order: the
    permutation in which the floats were put before they were turned into the form, by name; None: as they came.
    per_token: rows of one token, where it has several: one for each expert that it goes to.
    """

    name: str
    width: int
    rows: Rows = "tokens"
    form: Form = "plain"
    order: str | None = None
    per_token: int = 1

    def __hash__(self) -> int:
        """By name: values are looked up some ten thousand times while a model loads."""
        return hash(self.name)


@dataclass(frozen=True)
class Weight:
    """A packed matrix [rows, columns], by the name under which the compiler finds it.

    form: what its product wants its input turned into. order: the permutation in which it wants it, by name; equal
    names are equal permutations. bits, group_size and nbytes are for people to read.
    """

    name: str
    rows: int
    columns: int
    form: Form = "plain"
    bits: int = 32
    group_size: int = 0
    nbytes: int = 0
    order: str | None = None


@dataclass(frozen=True)
class Vector:
    """A float32 vector [width] (a norm's weight, a bias), by the name under which the compiler finds it."""

    name: str
    width: int


@dataclass(frozen=True)
class Rope:
    """Rotary embedding of the first ``rotary_dim`` of each head.

    style: "half_split" pairs (i, i + rotary_dim / 2), "interleaved" pairs (2i, 2i + 1).
    inverse_frequency: [rotary_dim / 2], scaling included. attention_factor multiplies cosine and sine.
    """

    style: RopeStyle
    rotary_dim: int
    inverse_frequency: tuple[float, ...]
    attention_factor: float = 1.0


@dataclass(frozen=True)
class Op:
    """An operation. READS and WRITES name the fields that hold its values."""

    READS: ClassVar[tuple[str, ...]] = ()
    WRITES: ClassVar[tuple[str, ...]] = ()

    def reads(self) -> tuple[Value, ...]:
        """Values that it reads."""
        return tuple(self._values(self.READS))

    def writes(self) -> tuple[Value, ...]:
        """Values that it writes."""
        return tuple(self._values(self.WRITES))

    def matrices(self) -> tuple[Weight, ...]:
        """Matrices that it works with."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if isinstance(value, Weight))

    def reading(self, substitutes: Mapping[Value, Value]) -> Self:
        """The same operation with some of the values it reads replaced."""
        changes = {}
        for name in self.READS:
            value = getattr(self, name)
            if isinstance(value, Value) and value in substitutes:
                changes[name] = substitutes[value]
        return replace(self, **changes) if changes else self

    def _values(self, names: tuple[str, ...]) -> Iterator[Value]:
        for name in names:
            value = getattr(self, name)
            if isinstance(value, Value):
                yield value
            elif value is not None:
                yield from value

    @property
    def layer_index(self) -> int | None:
        """The layer it belongs to, told by the names of what it writes; None outside of layers."""
        written = self.writes()
        match = re.match(r"layers\.(\d+)\.", written[0].name) if written else None
        return int(match.group(1)) if match else None


@dataclass(frozen=True)
class Embed(Op):
    """Rows of the embedding matrix for the step's token ids, times ``scale``."""

    weight: Weight
    out: Value
    scale: float = 1.0
    WRITES = ("out",)


@dataclass(frozen=True)
class GatherOutputs(Op):
    """The rows of x that want logits."""

    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)


@dataclass(frozen=True)
class Norm(Op):
    """RMSNorm (Zhang and Sennrich, 2019): ``x / rms(x) * (weight + weight_bias)``, also prepared into ``forms``.

    A weight narrower than x norms each run of its width, such as each head. With a residual, which the norm is added
    to, out takes over its buffer.
    """

    x: Value
    weight: Vector
    eps: float
    out: Value | None
    weight_bias: float = 0.0
    forms: tuple[Value, ...] = ()
    residual: Value | None = None
    READS = ("x", "residual")
    WRITES = ("out", "forms")


@dataclass(frozen=True)
class Prepare(Op):
    """x turned into each of ``forms``, permuted before where their order says so."""

    x: Value
    forms: tuple[Value, ...]
    READS = ("x",)
    WRITES = ("forms",)


@dataclass(frozen=True)
class Product:
    """``out = weight @ x (+ bias) (+ residual)``. With a residual, out takes over the residual's buffer."""

    weight: Weight
    x: Value
    out: Value
    bias: Vector | None = None
    residual: Value | None = None


@dataclass(frozen=True)
class MatMul(Op):
    """Products that may run side by side."""

    products: tuple[Product, ...]

    def reads(self) -> tuple[Value, ...]:
        """Inputs and residuals of all products."""
        inputs = [product.x for product in self.products]
        return tuple(inputs + [p.residual for p in self.products if p.residual is not None])

    def writes(self) -> tuple[Value, ...]:
        """Results of all products."""
        return tuple(product.out for product in self.products)

    def matrices(self) -> tuple[Weight, ...]:
        """Those of all products."""
        return tuple(product.weight for product in self.products)

    def reading(self, substitutes: Mapping[Value, Value]) -> MatMul:
        """The same products with some of their inputs replaced."""
        products = []
        for product in self.products:
            residual = None if product.residual is None else substitutes.get(product.residual, product.residual)
            products.append(replace(product, x=substitutes.get(product.x, product.x), residual=residual))
        return MatMul(tuple(products))


@dataclass(frozen=True)
class RopeStore(Op):
    """Rotates q (out takes over q's buffer) and k, and stores k and v in the layer's cache."""

    layer: int
    q: Value
    k: Value
    v: Value
    out: Value
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope
    READS = ("q", "k", "v")
    WRITES = ("out",)


@dataclass(frozen=True)
class Attention(Op):
    """Causal attention of q over the layer's cache. window 0: all positions; else the last ``window`` of them.

    softcap: 0 for none, else scores become ``softcap * tanh(score / softcap)``.
    """

    layer: int
    q: Value
    out: Value
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scale: float
    softcap: float = 0.0
    window: int = 0
    READS = ("q",)
    WRITES = ("out",)


@dataclass(frozen=True)
class Activation(Op):
    """An elementwise activation; a pass fuses it with the Multiply that reads it."""

    kind: ActivationKind
    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)


@dataclass(frozen=True)
class Multiply(Op):
    """``a * b``."""

    a: Value
    b: Value
    out: Value
    READS = ("a", "b")
    WRITES = ("out",)


@dataclass(frozen=True)
class GatedActivation(Op):
    """``activation(gate) * up`` (Shazeer, 2020), also prepared into ``forms``."""

    kind: ActivationKind
    gate: Value
    up: Value
    out: Value | None
    forms: tuple[Value, ...] = ()
    READS = ("gate", "up")
    WRITES = ("out", "forms")


@dataclass(frozen=True)
class Add(Op):
    """``a + scale * b``, also prepared into ``forms``; a pass fuses plain sums into what made one of their parts."""

    a: Value
    b: Value
    out: Value
    scale: float = 1.0
    forms: tuple[Value, ...] = ()
    READS = ("a", "b")
    WRITES = ("out", "forms")


@dataclass(frozen=True)
class RoundToInt8(Op):
    """x as int8 with one scale per row would have it: what BitNet's products read. Default precision does without."""

    x: Value
    out: Value
    READS = ("x",)
    WRITES = ("out",)


@dataclass(frozen=True)
class HiddenStates(Op):
    """x into the caller's array, for the rows that want outputs; a pass puts it before Logits."""

    x: Value
    READS = ("x",)


@dataclass(frozen=True)
class Logits(Op):
    """The head: ``softcap(scale * weight @ x)`` into the caller's array, for the rows that want logits."""

    weight: Weight
    x: Value
    softcap: float = 0.0
    scale: float = 1.0
    READS = ("x",)


@dataclass(frozen=True)
class Graph:
    """Operations in the order of execution."""

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

    def weights(self) -> dict[str, Weight]:
        """Every matrix in use, by name; a tied one appears once."""
        found: dict[str, Weight] = {}
        for op in self.ops:
            found.update((weight.name, weight) for weight in op.matrices())
        return found
