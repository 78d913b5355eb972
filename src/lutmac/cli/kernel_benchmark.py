"""`lutmac bench kernels`: the matrix products alone, by shape and bit width, from memory and from cache."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from lutmac import _native
from lutmac.cli.kernel_codes import KernelCodes
from lutmac.cli.output import print_table
from lutmac.lowbit.target import resolve_target

Progress = Callable[[int, int, str], None]

SHAPES = ((4096, 4096), (11008, 4096), (4096, 11008))  # Llama-2-7B's, rows and columns
FROM_MEMORY_BYTES = 256 << 20  # of copies of a matrix, used in turns: several times a last-level cache
FROM_CACHE_BYTES = 256 << 10  # a matrix that stays in a core's second-level cache
MANY_TOKENS = 128
MEMORY_MEGABYTES, MEMORY_PASSES = 1024, 4


@dataclass(frozen=True)
class KernelPlan:
    """What is measured."""

    codes: tuple[KernelCodes, ...]
    tokens: tuple[int, ...]
    repeat: int


@dataclass(frozen=True)
class KernelRate:
    """One product: seconds are the median, table building included.

    fraction_of_memory_read: of weights and scales. fraction_of_peak: of the same kernel's rate on a matrix in cache,
    with 128 tokens, by all threads.
    """

    rows: int
    columns: int
    codes: str
    bits: float
    group_size: int
    tokens: int
    threads: int
    seconds: float
    nbytes: int
    memory_read: float
    peak_macs: float

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates, as a dense product would count them."""
        return self.rows * self.columns * self.tokens / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Weights and scales read."""
        return self.nbytes / self.seconds

    def as_dict(self) -> dict[str, object]:
        """What --json prints of it."""
        return {
            **vars(self),
            "gmac_per_second": self.macs_per_second / 1e9,
            "gb_per_second": self.bytes_per_second / 1e9,
            "fraction_of_memory_read": self.bytes_per_second / self.memory_read,
            "fraction_of_peak": self.macs_per_second / self.peak_macs,
        }

    def row(self) -> list[str]:
        """What the table shows of it."""
        return [
            f"{self.rows} x {self.columns}",
            self.codes,
            str(self.group_size or "row"),
            *(str(value) for value in (self.tokens, self.threads)),
            f"{self.bytes_per_second / 1e9:.1f}",
            f"{self.macs_per_second / 1e9:.1f}",
            f"{self.bytes_per_second / self.memory_read:.0%}",
            f"{self.macs_per_second / self.peak_macs:.0%}",
        ]


@dataclass(frozen=True)
class KernelReport:
    """All rates of a run. memory_read: bytes per second by threads. peaks: MAC/s in cache by (codes, threads)."""

    isa: str
    plan: KernelPlan
    memory_read: dict[int, float]
    peaks: dict[tuple[str, int], float]
    rates: list[KernelRate]

    def as_dict(self) -> dict[str, object]:
        """What --json prints."""
        return {
            "isa": self.isa,
            "memory_read_bytes_per_second": {str(count): rate for count, rate in self.memory_read.items()},
            "peaks": [
                {"codes": codes, "threads": threads, "gmac_per_second": peak / 1e9}
                for (codes, threads), peak in self.peaks.items()
            ],
            "kernels": [rate.as_dict() for rate in self.rates],
        }

    def print(self) -> None:
        """The report as tables."""
        print(f"ISA target {self.isa}")
        for count, rate in self.memory_read.items():
            print(f"memory read, {count} thread(s): {rate / 1e9:.1f} GB/s")
        print()
        header = ["rows x columns", "bits", "group", "tokens", "threads", "GB/s", "GMAC/s", "of memory", "of peak"]
        print_table(header, [rate.row() for rate in self.rates])


def run_kernels(plan: KernelPlan, threads: list[int] | None, progress: Progress) -> KernelReport:
    """Measures every shape, kind of codes, number of tokens and of threads."""
    counts = threads or [_native.default_threads()]
    target = resolve_target(None)
    memory_read = {count: _native.memory_read_rate(count, MEMORY_MEGABYTES, MEMORY_PASSES) for count in counts}
    peaks: dict[tuple[str, int], float] = {}
    rates: list[KernelRate] = []
    total = len(plan.codes) * (len(SHAPES) + 1)
    for index, codes in enumerate(plan.codes):
        progress(index * (len(SHAPES) + 1), total, "measuring")
        for count in counts:
            peaks[codes.name, count] = _peak(codes, plan.repeat, target, count)
        for place, (rows, columns) in enumerate(SHAPES):
            progress(index * (len(SHAPES) + 1) + 1 + place, total, "measuring")
            copies = ceil(FROM_MEMORY_BYTES / (rows * columns * codes.bits / 8))
            matrices = codes.matrices(rows, columns, copies, target=target, threads=max(counts))
            for count in counts:
                for tokens in plan.tokens:
                    seconds = _time(matrices, tokens, count, plan.repeat)
                    rates.append(
                        KernelRate(
                            rows=rows,
                            columns=columns,
                            codes=codes.name,
                            bits=codes.bits,
                            group_size=codes.group_size,
                            tokens=tokens,
                            threads=count,
                            seconds=seconds,
                            nbytes=matrices[0].nbytes,
                            memory_read=memory_read[count],
                            peak_macs=peaks[codes.name, count],
                        )
                    )
    progress(total, total, "measuring")
    return KernelReport(target, plan, memory_read, peaks, rates)


def _peak(codes: KernelCodes, repeat: int, target: str, threads: int) -> float:
    columns = 1024
    rows = max(128, int(FROM_CACHE_BYTES * 8 / (columns * codes.bits)) // 128 * 128)
    seconds = _time(codes.matrices(rows, columns, 1, target=target, threads=threads), MANY_TOKENS, threads, 4 * repeat)
    return rows * columns * MANY_TOKENS / seconds


def _time(matrices: list[_native.Matrix], tokens: int, threads: int, repeat: int) -> float:
    """Median seconds of one product, over rounds in which each of the matrices is used."""
    x = np.random.default_rng(0).standard_normal((tokens, matrices[0].columns), dtype=np.float32)
    once = matrices if tokens < 16 else matrices[:1]  # many tokens do not depend on where the weights come from
    samples = []
    for _ in range(repeat + 1):
        begin = time.perf_counter()
        for matrix in once:
            matrix.matmul(x, exact=False, threads=threads)
        samples.append((time.perf_counter() - begin) / len(once))
    return statistics.median(samples[1:])
