"""What a kernel could reach: its instructions on the ports of a microarchitecture, and the bytes that it reads."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import ceil
from pathlib import Path
from typing import Final

from lutmac.cli.kernel_codes import TERNARY_GROUPS
from lutmac.cli.kernel_model_amx import BLOCK_TOKENS, TILE_TOKENS, UNPACKED_WEIGHTS, tile_cycles, unpacking
from lutmac.cli.microarchitectures import VECTOR_CLASSES, Microarchitecture

# Of the products whose instructions were counted. tokens 0: the making of one token's form.
ROWS: Final = 64
COLUMNS: Final = 512
COUNTS: Final = Path(__file__).with_name("kernel_counts.csv")
WIDTHS: Final = (256, 512)
WIDE_CODEBOOKS: Final = ("nf4",)  # whose values are 16-bit integers: two passes, of high and of low bytes
MOST_TOKENS: Final = 16  # that go through a tile together
FORM_BYTES: Final = 4.5  # of an activation's share of its tables, with scales and sums
FIRST_LEVEL_BYTES: Final = 32 << 10
CLASSES: Final = (
    "all",
    *(f"{name}{width}" for name in VECTOR_CLASSES for width in WIDTHS),
    *("load", "load256", "load512", "store", "store256", "store512"),
)


@dataclass(frozen=True)
class Counts:
    """Instructions of a product of ROWS x COLUMNS, by class."""

    of: dict[str, int]

    def plus(self, other: Counts, times: float) -> Counts:
        """With those of something else, so many times."""
        return Counts({name: self.of[name] + round(times * other.of[name]) for name in self.of})

    def port_cycles(self, machine: Microarchitecture) -> float:
        """Cycles of the busiest set of vector ports: what can run nowhere else, shared out evenly."""
        work: dict[str, float] = {}
        for name in VECTOR_CLASSES:
            for width in WIDTHS:
                for ports in machine.ports(name, width):
                    work[ports] = work.get(ports, 0.0) + self.of[f"{name}{width}"] * machine.slots(width)
        names = sorted({port for ports in work for port in ports})
        sets = (set(some) for size in range(1, len(names) + 1) for some in combinations(names, size))
        return max((sum(w for ports, w in work.items() if some >= {*ports}) / len(some) for some in sets), default=0.0)

    def other_cycles(self, machine: Microarchitecture) -> float:
        """Cycles of the busiest of what is no vector port: the front end, loads, stores."""
        vector_loads = self.of["load256"] + self.of["load512"] * machine.slots(512)
        loads = max(vector_loads / machine.vector_loads, (self.of["load"] + vector_loads) / machine.loads)
        stores = self.of["store256"] + self.of["store512"] * machine.slots(512) + self.of["store"]
        return max(self.of["all"] / machine.front_end, loads, stores / machine.stores)


@cache
def counted() -> dict[tuple[str, str, int, int], Counts]:
    """All that was counted, by target, kind, group size and tokens."""
    with COUNTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = ((row["target"], row["kind"], int(row["group"]), int(row["tokens"])) for row in rows)
    return {key: Counts({name: int(row[name]) for name in CLASSES}) for key, row in zip(keys, rows, strict=True)}


@dataclass(frozen=True)
class Work:
    """A product. codes: as --bits of `lutmac bench kernels` has them. group_size: 0 is a row.

    weight_bytes: of weights and scales. from_cache: whether these lie in the second-level cache, else in memory.
    """

    target: str
    codes: str
    group_size: int
    rows: int
    columns: int
    tokens: int
    weight_bytes: int
    from_cache: bool

    @property
    def kind(self) -> str:
        """What the table of counts calls these codes."""
        return self.codes if self.codes.isdecimal() else "ternary" if self.codes in TERNARY_GROUPS else "codebook"

    @property
    def second_level_bytes(self) -> float:
        """What comes through the second-level cache: weights once for 16 tokens, and their forms once for a tile."""
        passes = ceil(self.tokens / MOST_TOKENS)
        forms = min(self.tokens, MOST_TOKENS) * self.columns * FORM_BYTES
        tiles = self.rows / ROWS if forms > FIRST_LEVEL_BYTES else 1
        return passes * (self.weight_bytes + forms * tiles)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.columns * self.tokens


@dataclass(frozen=True)
class Rates:
    """What the machine was measured to do: its clock in cycles, its memory in bytes per second."""

    clock: float
    memory: float


def bound(work: Work, machine: Microarchitecture | None, rates: Rates) -> tuple[float, float] | None:
    """MAC/s of a product that only its busiest ports limit, and of one as the model predicts it.

    None for a machine or a target without figures.
    """
    if machine is None:
        return None
    if work.target == "amx" and work.tokens >= TILE_TOKENS:
        return _bound_of_tiles(work, machine, rates)
    if (found := _instructions(work)) is None:
        return None
    product, whole = found
    cycles = max(whole.port_cycles(machine), whole.other_cycles(machine)) / machine.share
    cycles += work.second_level_bytes / machine.l2_bytes
    memory = 0.0 if work.from_cache else work.weight_bytes / rates.memory
    return work.macs / product.port_cycles(machine) * rates.clock, work.macs / max(cycles / rates.clock, memory)


def _bound_of_tiles(work: Work, machine: Microarchitecture, rates: Rates) -> tuple[float, float] | None:
    """Of rows of prompts: of the ceiling, tile products beside unpacking; as predicted, one after the other."""
    unpacked = unpacking(work.kind)
    if unpacked is None:
        return None
    block = Counts({name: unpacked.get(name, 0) for name in CLASSES})
    times = work.rows * work.columns / UNPACKED_WEIGHTS * ceil(work.tokens / BLOCK_TOKENS)
    ports, tiles = times * block.port_cycles(machine), tile_cycles(work.rows, work.columns, work.tokens)
    cycles = tiles + max(ports, times * block.other_cycles(machine)) / machine.share
    return work.macs / max(ports, tiles) * rates.clock, work.macs / cycles * rates.clock


def _instructions(work: Work) -> tuple[Counts, Counts] | None:
    """Of a product alone, and with the forms of its activations; None where they were not counted."""
    table, kind = counted(), work.kind
    # Which computes what is no prompt of amx, and no dense matrix.
    target = "avx512vbmi" if work.target in ("amx", "avx512bf16") else work.target
    groups = sorted(group for found, name, group, tokens in table if (found, name, tokens) == (target, kind, 1))
    if not groups:
        return None
    wanted = min(work.group_size or COLUMNS, COLUMNS)
    group = max((g for g in groups if g <= wanted), default=groups[0])
    block = max(tokens for tokens in (1, 8, 16) if tokens <= work.tokens)
    nothing = Counts(dict.fromkeys(CLASSES, 0))
    columns = work.columns / COLUMNS
    passes = 2 if work.codes in WIDE_CODEBOOKS else 1
    times = passes * work.rows / ROWS * columns * work.tokens / block
    product = nothing.plus(table[target, kind, group, block], times)
    return product, product.plus(table[target, kind, group, 0], columns * work.tokens)
