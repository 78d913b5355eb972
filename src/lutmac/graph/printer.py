"""A compiled program as one readable page: what `lutmac info --program` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lutmac.graph.compile import Compiled
from lutmac.graph.ir import Value, short_name
from lutmac.graph.placement import Placement
from lutmac.graph.schedule import Call, Schedule


def print_program(compiled: Compiled) -> str:
    """The program with its buffers, a line per operation; layers that print alike are shown once."""
    limits = compiled.limits
    head = (
        f"program for {compiled.target}, {compiled.precision} precision: {compiled.layers} layers, "
        f"up to {limits.max_tokens} tokens of {limits.max_sequences} sequences in a step, "
        f"{limits.max_context} positions, arena {compiled.placement.arena_bytes / 1e6:.1f} MB"
    )
    legend = (
        "@ is a buffer's offset in the arena in KiB; a line without a name runs side by side with the one above; "
        "* in a step of one row each thread of the next product makes this for itself"
    )
    return "\n".join([head, legend, "", *listing(compiled)])


def listing(compiled: Compiled) -> list[str]:
    """The operations' lines, without the heading."""
    writer = _Writer(compiled.placement)
    before, layers, after = _split(compiled.schedule)
    texts: dict[tuple[str, ...], list[int]] = {}
    for layer, calls in layers.items():
        texts.setdefault(tuple(writer.line(call) for call in calls), []).append(layer)
    lines = [writer.line(call) for call in before]
    for text, numbers in texts.items():
        lines += [f"{'layer' if len(numbers) == 1 else 'layers'} {_ranges(numbers)}:", *(f"  {line}" for line in text)]
    return lines + [writer.line(call) for call in after]


def _split(schedule: Schedule) -> tuple[list[Call], dict[int, list[Call]], list[Call]]:
    before: list[Call] = []
    layers: dict[int, list[Call]] = {}
    after: list[Call] = []
    for call in schedule.calls:
        layer = call.layer_index
        if layer is not None:
            layers.setdefault(layer, []).append(call)
        else:
            (after if layers else before).append(call)
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
    """Writes calls as text; values go by the name of the buffer that they lie in."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def line(self, call: Call) -> str:
        written = ", ".join(self._value(value) for value in call.writes())
        read = ", ".join(self._value(value) for value in call.op.reads())
        detail = call.op.describe()
        onto = "←" if call.residual is None else "+="
        name = "" if call.together else call.op.name() + ("*" if call.own else "")
        text = f"{name:<17} {written or 'the caller'} {onto} {read}"
        return text + (f"{' · ' if read else ''}{detail}" if detail else "")

    def _value(self, value: Value) -> str:
        buffer = self._placement.buffers[value]
        form = "" if value.form == "plain" else f" as {value.form}"
        form += " in its matrix's order" if value.order else ""
        name = re.sub(r"\.(plain|tables|integers|ternary)\(.*\)$", "", buffer.name)
        return f"{short_name(name)}[{value.width}]{form}@{self._placement.offsets[value] / 1024:.0f}"
