"""What `lutmac bench` does: opens the contestants, measures them, and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import lutmac
from lutmac import Model, _native
from lutmac.cli.energy import NO_COUNTERS
from lutmac.cli.llama_cpp_peer import LlamaCpp, check_installed, fixed_tokens
from lutmac.cli.measure import Contestant, Plan, Rates, measure, runs_of
from lutmac.cli.output import format_bytes, print_table
from lutmac.engine.resolve import resolve

MEMORY_BUFFER_MEGABYTES = 1024  # several times the largest last-level cache that one is likely to meet
MEMORY_PASSES = 4


class Lutmac:
    """lutmac as a contestant: through the public calls, tokens drawn with the default sampling."""

    name = "lutmac"
    variants: tuple[str, ...] = ("",)

    def __init__(self, model: Model) -> None:
        """model: loaded with room for the longest sequence."""
        self.core_seconds = 0.0  # of what was measured last
        self._model = model
        self._vocab_size = model.info().vocab_size

    def prefill(self, variant: str, threads: int, tokens: int) -> float:
        """Seconds to the first token behind a prompt of that many tokens."""
        timings = self._generate(threads, tokens, 1).timings
        self.core_seconds = timings.prefill_core_seconds
        return timings.prefill_seconds

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> float:
        """Seconds for that many tokens after the first one behind max(1, depth) tokens of prompt."""
        timings = self._generate(threads, max(1, depth), 1 + tokens).timings
        self.core_seconds = timings.decode_core_seconds
        return timings.decode_seconds

    def _generate(self, threads: int, prompt_tokens: int, max_tokens: int) -> lutmac.Completion:
        self._model.threads = threads
        prompt = fixed_tokens(prompt_tokens, self._vocab_size)
        return self._model.generate(prompt, max_tokens=max_tokens, ignore_eos=True, seed=0)


@dataclass(frozen=True)
class StreamRate:
    """Tokens per second of several sequences decoded together, and how many times one sequence's rate that is."""

    streams: int
    threads: int
    tokens_per_second: float
    ratio_to_one: float


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmark found.

    bytes_per_token: of weights. memory_read: bytes per second, by number of threads. cache_bytes_per_position: keys and
    values of one position in all layers, which a decoded token reads for each position before it.
    """

    model: str
    isa: str
    bytes_per_token: int
    memory_read: dict[int, float]
    peak_memory_bytes: int
    rates: list[Rates]
    peer_version: str | None
    cache_bytes_per_position: int
    streams: list[StreamRate] = field(default_factory=list)

    def decode_rate(self, threads: int) -> float:
        """lutmac's decoded tokens per second."""
        return next(r.median for r in self.rates if (r.engine, r.phase, r.threads) == (Lutmac.name, "decode", threads))

    def bytes_read(self, rates: Rates) -> float:
        """Bytes of weights and of the key-value cache that a decoded token reads, in the middle of the run."""
        return self.bytes_per_token + self.cache_bytes_per_position * (rates.depth + rates.tokens / 2)

    def ratios(self) -> list[tuple[Rates, float]]:
        """lutmac's rates, each with how many times the peer's it is."""
        peers = {(r.phase, r.threads): r for r in self.rates if r.engine != Lutmac.name}
        own = [r for r in self.rates if r.engine == Lutmac.name and (r.phase, r.threads) in peers]
        return [(r, r.median / peers[r.phase, r.threads].median) for r in own]

    def cost_ratios(self) -> list[tuple[Rates, float]]:
        """lutmac's decode rates, each with how many times the peer's core-seconds per token it takes."""
        decoded = [r for r in self.rates if r.phase == "decode"]
        peers = {r.threads: r.core_seconds_per_token for r in decoded if r.engine != Lutmac.name}
        found = []
        for rates in decoded:
            own, peer = rates.core_seconds_per_token, peers.get(rates.threads)
            if rates.engine == Lutmac.name and own and peer:
                found.append((rates, own / peer))
        return found

    def as_dict(self) -> dict[str, object]:
        """What --json prints. Rates are tokens per second; bytes per second are model bytes read for them."""
        return {
            "model": self.model,
            "isa": self.isa,
            "bytes_per_token": self.bytes_per_token,
            "cache_bytes_per_position": self.cache_bytes_per_position,
            "peak_memory_bytes": self.peak_memory_bytes,
            "memory_read_bytes_per_second": {str(count): rate for count, rate in self.memory_read.items()},
            "peer": self.peer_version,
            "energy_counters": any(rates.joules for rates in self.rates),
            "streams": [vars(rate) for rate in self.streams],
            "entries": [self._entry(rates) for rates in self.rates],
            "ratios": [
                {"phase": rates.phase, "threads": rates.threads, "ratio": ratio} for rates, ratio in self.ratios()
            ],
            "core_seconds_ratios": [{"threads": rates.threads, "ratio": ratio} for rates, ratio in self.cost_ratios()],
        }

    def _entry(self, rates: Rates) -> dict[str, object]:
        entry: dict[str, object] = {
            "engine": rates.engine,
            "phase": rates.phase,
            "threads": rates.threads,
            "tokens": rates.tokens,
            "context": rates.depth,
            "tokens_per_second": rates.median,
            "tokens_per_second_min": min(rates.samples),
            "tokens_per_second_max": max(rates.samples),
            "samples": list(rates.samples),
        }
        if rates.variant:
            entry["variant"] = rates.variant
        if rates.core_seconds_per_token is not None:
            entry["core_seconds_per_token"] = rates.core_seconds_per_token
        if rates.joules_per_token is not None:
            entry["joules_per_token"] = rates.joules_per_token
        if rates.phase == "decode":
            speed = rates.median * self.bytes_read(rates)
            entry["bytes_read_per_token"] = self.bytes_read(rates)
            entry["model_bytes_per_second"] = rates.median * self.bytes_per_token
            entry["bytes_read_per_second"] = speed
            entry["fraction_of_memory_read"] = speed / self.memory_read[rates.threads]
        return entry

    def print(self) -> None:
        """The report as tables."""
        print(f"{self.model}: {format_bytes(self.bytes_per_token)} read per token, ISA target {self.isa}")
        for count, rate in self.memory_read.items():
            print(f"memory read, {_threads(count)}: {rate / 1e9:.1f} GB/s")
        print(f"peak memory: {format_bytes(self.peak_memory_bytes)}")
        if self.peer_version:
            print(f"peer: {self.peer_version}")
        print()
        energy = any(rates.joules for rates in self.rates)
        header = ["engine", "phase", "threads", "tokens", "context", "tok/s", "min", "max", "GB/s", "of memory"]
        header += ["core-ms/tok", "mJ/tok"] if energy else ["core-ms/tok"]
        print_table(header, [self._row(rates) for rates in self.rates], left=2)
        if not energy:
            print(NO_COUNTERS)
        if self.peer_version:
            print()
        for rates, ratio in self.ratios():
            print(f"lutmac / llama.cpp, {rates.phase}, {_threads(rates.threads)}: {ratio:.2f}")
        for rates, ratio in self.cost_ratios():
            print(f"lutmac / llama.cpp, core-seconds per decoded token, {_threads(rates.threads)}: {ratio:.2f}")
        if self.streams:
            print()
            print_table(["streams", "threads", "tok/s", "of one"], [self._stream_row(rate) for rate in self.streams], 0)

    @staticmethod
    def _stream_row(rate: StreamRate) -> list[str]:
        return [str(rate.streams), str(rate.threads), f"{rate.tokens_per_second:.1f}", f"{rate.ratio_to_one:.2f}"]

    def _row(self, rates: Rates) -> list[str]:
        speed = rates.median * self.bytes_read(rates)
        fraction = speed / self.memory_read[rates.threads]
        memory = [f"{speed / 1e9:.1f}", f"{fraction:.0%}"] if rates.phase == "decode" else ["", ""]
        engine = f"{rates.engine} ({rates.variant})" if rates.variant else rates.engine
        counts = [str(rates.threads), str(rates.tokens), str(rates.depth)]
        figures = [f"{rate:.1f}" for rate in (rates.median, min(rates.samples), max(rates.samples))]
        costs = [rates.core_seconds_per_token] + ([rates.joules_per_token] if any(r.joules for r in self.rates) else [])
        thousandths = ["" if cost is None else f"{cost * 1e3:.3g}" for cost in costs]
        return [engine, rates.phase, *counts, *figures, *memory, *thousandths]


def run_benchmark(
    name: str, threads: list[int] | None, plan: Plan, *, versus: bool, progress: Callable[[int, int, str], None]
) -> Report:
    """Measures one model, with llama.cpp in turns where `versus` says so. Raises what loading the model raises."""
    counts = threads or [_native.default_threads()]
    path = resolve(name)
    if versus:
        check_installed()
    model = lutmac.load(path, threads=max(counts), context=plan.longest_sequence, progress=progress)
    own = Lutmac(model)
    # The peak is lutmac's own only before the peer is there and before the memory is measured.
    own.prefill("", max(counts), plan.prompt_tokens)
    own.decode("", max(counts), plan.depth, 1)
    peak = _native.peak_resident_bytes()
    peer = LlamaCpp(path, plan.longest_sequence) if versus else None
    try:
        rates, memory_read = measure_all([own] if peer is None else [own, peer], counts, plan, progress)
        version = peer.version if peer is not None else None
    finally:
        if peer is not None:
            peer.close()
    info = model.info()
    return Report(
        str(path), info.isa, info.bytes_per_token, memory_read, peak, rates, version, info.cache_bytes_per_position
    )


def measure_all(
    contestants: list[Contestant], counts: list[int], plan: Plan, progress: Callable[[int, int, str], None]
) -> tuple[list[Rates], dict[int, float]]:
    """Rates of all contestants, and the memory's read rate, for each number of threads."""
    total, done = len(counts) * (2 + runs_of(contestants, plan)), 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, total, "measuring")

    def memory_rate(threads: int) -> float:
        rate = _native.memory_read_rate(threads, MEMORY_BUFFER_MEGABYTES, MEMORY_PASSES)
        advance()
        return rate

    progress(0, total, "measuring")
    rates, memory_read = [], {}
    for count in counts:
        before = memory_rate(count)  # and after: what else the machine does changes within the minutes between
        rates += measure(contestants, plan, count, advance)
        memory_read[count] = max(before, memory_rate(count))
    return rates, memory_read


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
