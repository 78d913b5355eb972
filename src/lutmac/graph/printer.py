"""A compiled program as one readable page: what `lutmac info --program` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lutmac.graph.compile import Compiled
from lutmac.graph.experts import ExpertMatMul, Route
from lutmac.graph.ir import (
    Add,
    Attention,
    Embed,
    GatedActivation,
    Graph,
    Logits,
    MatMul,
    Norm,
    Op,
    Product,
    RopeStore,
    Value,
    Weight,
)
from lutmac.graph.placement import Placement


def print_program(compiled: Compiled) -> str:
    """The program with its buffers, a line or a few per operation; layers that print alike are shown once."""
    limits, layers = compiled.limits, len(compiled.cache.layer_groups)
    head = (
        f"program for {compiled.target}, {'exact' if compiled.exact else 'default'} precision: {layers} layers, up to "
        f"{limits.max_tokens} tokens of {limits.max_sequences} sequences in a step, {limits.max_context} positions, "
        f"arena {compiled.placement.arena_bytes / 1e6:.1f} MB"
    )
    return "\n".join([head, "@ is a buffer's offset in the arena in KiB", "", *listing(compiled)])


def listing(compiled: Compiled) -> list[str]:
    """The operations' lines, without the heading."""
    writer = _Writer(compiled.placement)
    before, layers, after = _split(compiled.graph)
    texts: dict[tuple[str, ...], list[int]] = {}
    for layer, ops in layers.items():
        texts.setdefault(tuple(line for op in ops for line in writer.lines(op)), []).append(layer)
    lines = [line for op in before for line in writer.lines(op)]
    for text, numbers in texts.items():
        lines += [f"{'layer' if len(numbers) == 1 else 'layers'} {_ranges(numbers)}:", *(f"  {line}" for line in text)]
    return lines + [line for op in after for line in writer.lines(op)]


def _split(graph: Graph) -> tuple[list[Op], dict[int, list[Op]], list[Op]]:
    before: list[Op] = []
    layers: dict[int, list[Op]] = {}
    after: list[Op] = []
    for op in graph.ops:
        layer = op.layer_index
        if layer is not None:
            layers.setdefault(layer, []).append(op)
        else:
            (after if layers else before).append(op)
    return before, layers, after


def _ranges(numbers: Iterable[int]) -> str:
    """``0–3, 7``: consecutive numbers folded."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


class _Writer:
    """Writes operations as text; values go by the name of the buffer that they lie in."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def lines(self, op: Op) -> list[str]:
        if isinstance(op, MatMul):
            return [
                f"{'matmul' if index == 0 else '':<17} {self._product(product)}"
                for index, product in enumerate(op.products)
            ]
        written = ", ".join(self._value(value) for value in op.writes())
        read = ", ".join(self._value(value) for value in op.reads())
        detail = self._detail(op)
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(op).__name__).lower()
        text = f"{name:<17} {written or 'the caller'} ← {read}"
        return [text + (f"{' · ' if read else ''}{detail}" if detail else "")]

    def _product(self, product: Product) -> str:
        onto = " +=" if product.residual is not None else " ←"
        bias = f" + {_short(product.bias.name)}" if product.bias is not None else ""
        return f"{self._value(product.out)}{onto} {_weight(product.weight)} x {self._value(product.x)}{bias}"

    def _value(self, value: Value) -> str:
        buffer = self._placement.buffers[value]
        form = "" if value.form == "plain" else f" as {value.form}"
        form += " in its matrix's order" if value.order else ""
        name = re.sub(r"\.(plain|tables|integers)\(.*\)$", "", buffer.name)
        return f"{_short(name)}[{value.width}]{form}@{self._placement.offsets[value] / 1024:.0f}"

    def _detail(self, op: Op) -> str:  # noqa: PLR0911 (one for each operation that has any)
        match op:
            case Embed() | Logits():
                return _weight(op.weight)
            case Norm():
                onto = " onto it" if op.residual is not None else ""
                return f"{_short(op.weight.name)} [{op.weight.width}], eps {op.eps:g}{onto}"
            case RopeStore():
                rope = op.rope
                return f"{rope.style.replace('_', ' ')} over {rope.rotary_dim} of {op.head_dim}; k and v to the cache"
            case Attention():
                window = f", window {op.window}" if op.window else ""
                return f"{op.num_heads} heads over {op.num_kv_heads} of {op.head_dim}{window}"
            case GatedActivation():
                return f"{op.kind}(gate) · up"
            case Add() if op.scale != 1:
                return f"the second times {op.scale:g}"
            case Route():
                weights = "the chosen" if op.normalize else "all"
                return f"{op.per_token} of {op.logits.width} experts, softmax over {weights}"
            case ExpertMatMul():
                return f"{len(op.weights)} experts, the first {_weight(op.weights[0])}"
        return ""


def _weight(weight: Weight) -> str:
    group = f", groups of {weight.group_size}" if weight.group_size and weight.group_size < weight.columns else ""
    return f"{_short(weight.name)} [{weight.rows}x{weight.columns}, {weight.bits} bits{group}]"


def _short(name: str) -> str:
    """A name without its layer and without what every name has in common."""
    return re.sub(r"^(model\.)?(layers\.\d+\.)?", "", name).removesuffix(".weight")
