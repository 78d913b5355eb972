"""`lutmac bench kernels --bounds`: what each kernel reaches on each ISA target, beside what it could reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from lutmac import _native
from lutmac.cli.kernel_benchmark import FROM_CACHE_BYTES, FROM_MEMORY_BYTES, MEMORY_MEGABYTES, MEMORY_PASSES
from lutmac.cli.kernel_codes import KernelCodes
from lutmac.cli.kernel_model import Rates, Work, bound
from lutmac.cli.microarchitectures import Processor, this_processor
from lutmac.cli.output import print_table

Progress = Callable[[int, int, str], None]

COLUMNS: Final = 1024
# Of a product, by where its weights come from.
TOKENS: Final = {"cache": (1, 8, 128), "memory": (1, 8)}
PROMPT_TOKENS: Final = 128  # as many are rows of a prompt
STRETCH: Final = 0.005  # seconds
SECONDS: Final = 0.2  # of measuring each


@dataclass(frozen=True)
class LutArray:
    """LUT Tensor Core's array of dot products by lookup (Mo et al., arXiv 2408.06003), with weights bit by bit.

    A cycle takes 2 tokens, 64 outputs and 4 inputs of one plane. clock: cycles per second. arrays: that work at once.
    """

    clock: float
    arrays: int

    def macs_per_second(self, rows: int, columns: int, tokens: int, bits: int) -> float:
        """Of a product, its edges included."""
        cycles = ceil(tokens / 2) * ceil(rows / 64) * ceil(columns / 4) * bits
        return rows * columns * tokens / cycles * self.clock * self.arrays


@dataclass(frozen=True)
class BoundedRate:
    """MAC/s of one product by one thread. ceiling, predicted: None where the model knows the target or core not."""

    target: str
    codes: str
    group_size: int
    tokens: int
    source: str
    measured: float
    ceiling: float | None
    predicted: float | None

    def as_dict(self) -> dict[str, object]:
        """What --json prints of it."""
        gmacs = {name: _gmac(getattr(self, name)) for name in ("measured", "ceiling", "predicted")}
        return {**vars(self), **gmacs}

    def row(self) -> list[str]:
        """What the table shows of it."""

        def shown(value: float | None) -> str:
            return "-" if value is None else f"{value / 1e9:.0f}"

        def share(value: float | None) -> str:
            return "-" if value is None else f"{self.measured / value:.2f}"

        what = [self.target, self.codes, str(self.group_size or "row"), str(self.tokens), self.source]
        bounds = (cell(value) for value in (self.ceiling, self.predicted) for cell in (shown, share))
        return [*what, shown(self.measured), *bounds]


@dataclass(frozen=True)
class Machine:
    """The processor, its clock in cycles per second, and what one thread reads from memory, in bytes per second."""

    processor: Processor
    clock: float
    memory_read: float


@dataclass(frozen=True)
class ArrayRate:
    """What the array of LUT Tensor Core would do of a product from cache."""

    codes: str
    tokens: int
    macs_per_second: float


@dataclass(frozen=True)
class BoundsReport:
    """All of a run."""

    machine: Machine
    rates: list[BoundedRate]
    array: LutArray
    array_rates: list[ArrayRate]

    def as_dict(self) -> dict[str, object]:
        """What --json prints. Rates are in GMAC/s."""
        core = self.machine.processor.microarchitecture
        return {
            "processor": str(self.machine.processor),
            "microarchitecture": None if core is None else core.name,
            "clock": self.machine.clock,
            "memory_read_bytes_per_second": self.machine.memory_read,
            "bounds": [rate.as_dict() for rate in self.rates],
            "lut_tensor_core": {
                **vars(self.array),
                "rates": [{**vars(rate), "macs_per_second": rate.macs_per_second} for rate in self.array_rates],
            },
        }

    def print(self) -> None:
        """The report as tables."""
        machine = self.machine
        core = machine.processor.microarchitecture
        print(f"{machine.processor}: {'not in the table of microarchitectures' if core is None else core.name}")
        print(f"{machine.clock / 1e9:.2f} GHz; memory read, 1 thread: {machine.memory_read / 1e9:.1f} GB/s; GMAC/s:\n")
        what = ["target", "bits", "group", "tokens", "weights from"]
        header = [*what, "measured", "ceiling", "of it", "predicted", "of it"]
        print_table(header, [rate.row() for rate in self.rates], left=2)
        if self.array_rates:
            print(f"\nLUT Tensor Core, {self.array.arrays} array(s) at {self.array.clock / 1e9:g} GHz, in GMAC/s")
            rows = [[rate.codes, str(rate.tokens), f"{rate.macs_per_second / 1e9:.0f}"] for rate in self.array_rates]
            print_table(["bits", "tokens", "rate"], rows, left=1)


def run_bounds(codes: tuple[KernelCodes, ...], array: LutArray, progress: Progress) -> BoundsReport:
    """Measures every kind of codes on every target that runs here, with one thread."""
    targets = [name for name in _native.available_targets() if name != "portable"]
    runs = [(kind, target, source) for kind in codes for target in targets for source in TOKENS]
    machine = Machine(
        this_processor(), _native.clock_rate(), _native.memory_read_rate(1, MEMORY_MEGABYTES, MEMORY_PASSES)
    )
    rates: list[BoundedRate] = []
    for index, (kind, target, source) in enumerate(runs):
        progress(index, len(runs), "measuring")
        rates += _measured(kind, target, source, machine)
    progress(len(runs), len(runs), "measuring")
    array_rates = []
    for kind in (kind for kind in codes if kind.name.isdecimal()):
        rows, _ = _size(kind, "cache")
        for tokens in TOKENS["cache"]:
            rate = array.macs_per_second(rows, COLUMNS, tokens, int(kind.name))
            array_rates.append(ArrayRate(kind.name, tokens, rate))
    return BoundsReport(machine, rates, array, array_rates)


def _measured(kind: KernelCodes, target: str, source: str, machine: Machine) -> list[BoundedRate]:
    """All numbers of tokens; of a target that computes prompts in a way of its own, these go that way."""
    rows, copies = _size(kind, source)
    matrices, rates = kind.matrices(rows, COLUMNS, copies, target=target, threads=1), []
    measured_rates = Rates(machine.clock, machine.memory_read)
    for tokens in TOKENS[source]:
        shape = (kind.group_size, rows, COLUMNS, tokens, matrices[0].nbytes, source == "cache")
        found = bound(Work(target, kind.name, *shape), machine.processor.microarchitecture, measured_rates)
        ceiling, predicted = (None, None) if found is None else found
        measured = rows * COLUMNS * tokens / _seconds(matrices, tokens)
        rates.append(BoundedRate(target, kind.name, kind.group_size, tokens, source, measured, ceiling, predicted))
    return rates


def _size(kind: KernelCodes, source: str) -> tuple[int, int]:
    """Rows of a matrix, and how many of them."""
    if source == "cache":
        return max(128, int(FROM_CACHE_BYTES * 8 / (COLUMNS * kind.bits)) // 128 * 128), 1
    rows = 4096
    return rows, ceil(FROM_MEMORY_BYTES / (rows * COLUMNS * kind.bits / 8))


def _seconds(matrices: list[_native.Matrix], tokens: int) -> float:
    """The least time of this thread for a product, of stretches of milliseconds: in others the core had other work."""
    x = np.random.default_rng(0).standard_normal((tokens, matrices[0].columns), dtype=np.float32)
    prompt = tokens >= PROMPT_TOKENS
    best, end = float("inf"), time.perf_counter() + SECONDS
    while best == float("inf") or time.perf_counter() < end:
        products, begin = 0, time.thread_time()
        while time.thread_time() - begin < STRETCH:
            for matrix in matrices:
                matrix.matmul(x, exact=False, prompt=prompt, threads=1)
            products += len(matrices)
        best = min(best, (time.thread_time() - begin) / products)
    return best


def _gmac(value: float | None) -> float | None:
    return None if value is None else value / 1e9
