"""What `lutmac bench` does: opens the contestants, measures them, and reports."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import lutmac
from lutmac import _native
from lutmac.cli.energy import NO_COUNTERS, EnergyMeter, machine_meter
from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.last_level_cache import last_level_cache_bytes
from lutmac.cli.llama_cpp_peer import LlamaCpp, check_installed
from lutmac.cli.measure import Contestant, Plan, Rates, measure, runs_of
from lutmac.cli.output import format_bytes, print_table
from lutmac.cli.trace import TracedRun, trace_runs
from lutmac.engine.loading.resolve import resolve

LUTMAC = EngineContestant.name
MEMORY_BUFFER_MEGABYTES = 1024  # several times the largest last-level cache that one is likely to meet
MEMORY_PASSES = 4


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

    bytes_per_token: of weights. state_bytes: of states of fixed size, which a token reads and writes.
    memory_read: bytes per second, by number of threads. cache_bytes_per_position: keys and
    values of one position in all layers, which a decoded token reads for each position before it; kv_cache: what they
    are kept as.
    """

    model: str
    isa: str
    bytes_per_token: int
    memory_read: dict[int, float]
    peak_memory_bytes: int
    rates: list[Rates]
    peer_version: str | None
    cache_bytes_per_position: int
    kv_cache: str
    streams: list[StreamRate] = field(default_factory=list)
    state_bytes: int = 0
    traced: list[TracedRun] = field(default_factory=list)
    energy: EnergyMeter | None = None

    def decode_rate(self, threads: int) -> float:
        """lutmac's decoded tokens per second."""
        return next(r.median for r in self.rates if (r.engine, r.phase, r.threads) == (LUTMAC, "decode", threads))

    def bytes_read(self, rates: Rates) -> float:
        """Bytes that a decoded token reads in the middle of the run, of weights, keys and values, and of its states."""
        cached = self.cache_bytes_per_position * (rates.depth + rates.tokens / 2)
        return self.bytes_per_token + 2 * self.state_bytes + cached

    def ratios(self) -> list[tuple[Rates, float]]:
        """lutmac's rates, each with how many times the peer's it is."""
        peers = {(r.phase, r.threads): r for r in self.rates if r.engine != LUTMAC}
        own = [r for r in self.rates if r.engine == LUTMAC and (r.phase, r.threads) in peers]
        return [(r, r.median / peers[r.phase, r.threads].median) for r in own]

    def cost_ratios(self) -> list[tuple[Rates, float]]:
        """lutmac's decode rates, each with how many times the peer's core-seconds per token it takes."""
        decoded = [r for r in self.rates if r.phase == "decode"]
        peers = {r.threads: r.core_seconds_per_token for r in decoded if r.engine != LUTMAC}
        own = [r for r in decoded if r.engine == LUTMAC and r.threads in peers]
        return [(r, r.core_seconds_per_token / peers[r.threads]) for r in own]

    def as_dict(self) -> dict[str, object]:
        """What --json prints. Rates are tokens per second; bytes per second are model bytes read for them."""
        return {
            "model": self.model,
            "isa": self.isa,
            "bytes_per_token": self.bytes_per_token,
            "state_bytes": self.state_bytes,
            "kv_cache": self.kv_cache,
            "cache_bytes_per_position": self.cache_bytes_per_position,
            "peak_memory_bytes": self.peak_memory_bytes,
            "memory_read_bytes_per_second": {str(count): rate for count, rate in self.memory_read.items()},
            "peer": self.peer_version,
            "energy_counters": any(rates.joules for rates in self.rates),
            "energy": self.energy and {"source": self.energy.source.name, "idle_watts": self.energy.idle_watts},
            "streams": [vars(rate) for rate in self.streams],
            "entries": [self._entry(rates) for rates in self.rates],
            "ratios": [
                {"phase": rates.phase, "threads": rates.threads, "ratio": ratio} for rates, ratio in self.ratios()
            ],
            "core_seconds_ratios": [{"threads": rates.threads, "ratio": ratio} for rates, ratio in self.cost_ratios()],
            **({"trace": [run.as_dict() for run in self.traced]} if self.traced else {}),
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
            "core_seconds_per_token": rates.core_seconds_per_token,
        }
        if rates.joules_per_token is not None:
            entry["joules_per_token"] = rates.joules_per_token
        if rates.variant:
            entry["variant"] = rates.variant
        if rates.phase == "decode":
            speed = rates.median * self.bytes_read(rates)
            entry["bytes_read_per_token"] = self.bytes_read(rates)
            entry["model_bytes_per_second"] = rates.median * self.bytes_per_token
            entry["bytes_read_per_second"] = speed
            entry["fraction_of_memory_read"] = speed / self.memory_read[rates.threads]
        return entry

    def above_memory(self, cache_bytes: int) -> str | None:
        """Why decoding reads faster than the memory gives, in a line; None where it does not.

        cache_bytes: what the processor's last cache holds.
        """
        decoded = [rates for rates in self.rates if rates.phase == "decode"]
        above = [r for r in decoded if r.median * self.bytes_read(r) > self.memory_read[r.threads]]
        if not above:
            return None
        read = min(self.bytes_read(rates) for rates in above)
        if read <= cache_bytes:
            sizes = f"{format_bytes(read)} of the {format_bytes(cache_bytes)} that the processor's cache holds"
            return f"above 100% of memory: a token reads {sizes}, so not all of it comes from memory"
        return "above 100% of memory: the machine was busy with something else while the memory's rate was measured"

    def print(self) -> None:
        """The report as tables."""
        print(f"{self.model}: {format_bytes(self.bytes_per_token)} read per token, ISA target {self.isa}")
        for count, rate in self.memory_read.items():
            print(f"memory read, {_threads(count)}: {rate / 1e9:.1f} GB/s")
        print(f"peak memory: {format_bytes(self.peak_memory_bytes)}")
        if self.peer_version:
            print(f"peer: {self.peer_version}")
        print()
        header = [
            "engine",
            "phase",
            "threads",
            "tokens",
            "context",
            "tok/s",
            "min",
            "max",
            "core-s/tok",
            "GB/s",
            "of memory",
        ]
        energy = any(rates.joules for rates in self.rates)
        if energy:
            header.append("J/tok")
        print_table(header, [self._row(rates) for rates in self.rates], left=2)
        print(NO_COUNTERS if self.energy is None else self.energy)
        if (why := self.above_memory(last_level_cache_bytes())) is not None:
            print(why)
        self._print_ratios()
        if self.streams:
            print()
            print_table(["streams", "threads", "tok/s", "of one"], [self._stream_row(rate) for rate in self.streams], 0)
        for run in self.traced:
            run.print()

    def _print_ratios(self) -> None:
        if self.peer_version:
            print()
        for rates, ratio in self.ratios():
            print(f"lutmac / llama.cpp, {rates.phase}, {_threads(rates.threads)}: {ratio:.2f}")
        for rates, ratio in self.cost_ratios():
            print(f"lutmac / llama.cpp, core-seconds per decoded token, {_threads(rates.threads)}: {ratio:.2f}")

    @staticmethod
    def _stream_row(rate: StreamRate) -> list[str]:
        return [str(rate.streams), str(rate.threads), f"{rate.tokens_per_second:.1f}", f"{rate.ratio_to_one:.2f}"]

    def _row(self, rates: Rates) -> list[str]:
        speed = rates.median * self.bytes_read(rates)
        fraction = speed / self.memory_read[rates.threads]
        memory = [f"{speed / 1e9:.1f}", f"{fraction:.0%}"] if rates.phase == "decode" else ["", ""]
        energy = [] if rates.joules_per_token is None else [f"{rates.joules_per_token:.3g}"]
        engine = f"{rates.engine} ({rates.variant})" if rates.variant else rates.engine
        counts = [str(rates.threads), str(rates.tokens), str(rates.depth)]
        figures = [f"{rate:.1f}" for rate in (rates.median, min(rates.samples), max(rates.samples))]
        return [engine, rates.phase, *counts, *figures, f"{rates.core_seconds_per_token:.4f}", *memory, *energy]


def run_benchmark(
    name: str,
    threads: list[int] | None,
    plan: Plan,
    streams: list[int],
    *,
    versus: bool,
    progress: Callable[[int, int, str], None],
) -> Report:
    """Measures one model, with llama.cpp in turns where `versus` says so. Raises what loading the model raises."""
    counts = threads or [_native.default_threads()]
    path = resolve(name)
    if versus:
        check_installed()
    meter = machine_meter()  # while nothing runs yet
    model = lutmac.load(
        path, threads=max(counts), context=plan.longest_sequence, kv_cache=plan.kv_cache, progress=progress
    )
    own = EngineContestant(model.engine)
    # The peak is lutmac's own only before the peer is there and before the memory is measured.
    own.prefill("", max(counts), plan.prompt_tokens)
    own.decode("", max(counts), plan.depth, 1)
    peak = _native.peak_resident_bytes()
    peer = LlamaCpp(path, plan.longest_sequence) if versus else None
    try:
        together = measure_streams(own, counts, plan, streams)
        rates, memory_read = measure_all([own] if peer is None else [own, peer], counts, plan, progress)
        version = peer.version if peer is not None else None
        runs = trace_runs(own, path.name, counts, plan)
    finally:
        if peer is not None:
            peer.close()
    info = model.info()
    return Report(
        model=str(path),
        isa=info.isa,
        bytes_per_token=info.bytes_per_token,
        memory_read=memory_read,
        peak_memory_bytes=peak,
        rates=rates,
        peer_version=version,
        cache_bytes_per_position=info.cache_bytes_per_position,
        kv_cache=plan.kv_cache,
        streams=together,
        state_bytes=info.slot_bytes,
        traced=runs,
        energy=meter,
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


def measure_streams(
    contestant: EngineContestant, counts: list[int], plan: Plan, streams: list[int]
) -> list[StreamRate]:
    """Decode of one sequence and of each number of sequences together, in turns, for each number of threads."""
    found = []
    for threads in counts if streams else []:
        numbers = sorted({1, *streams})
        samples: dict[int, list[float]] = {number: [] for number in numbers}
        for _ in range(plan.repeat):
            for number in numbers:
                span = contestant.decode_streams(threads, number, plan.depth, plan.decode_tokens)
                samples[number].append(number * plan.decode_tokens / span.seconds)
        one = statistics.median(samples[1])
        for number in numbers:
            rate = statistics.median(samples[number])
            found.append(StreamRate(number, threads, rate, rate / one))
    return found


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
