"""`lutmac bench --synthetic`: models of random weights, one for each bit width that was asked for."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lutmac import _native
from lutmac.cli.benchmark import Report, measure_all, measure_streams
from lutmac.cli.energy import machine_meter
from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.measure import Plan
from lutmac.cli.trace import TracedRun, trace_runs
from lutmac.engine.measuring.synthetic import SyntheticSpec, make_synthetic
from lutmac.lowbit.target import resolve_target

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Fit:
    """A straight line through time per token over bits, by least squares. r_squared: 1 is a perfect line."""

    threads: int
    milliseconds_per_bit: float
    milliseconds_at_zero: float
    r_squared: float

    def __str__(self) -> str:
        """For people."""
        line = f"{self.milliseconds_at_zero:.1f} ms + {self.milliseconds_per_bit:.1f} ms per bit"
        return f"decode, {self.threads} thread(s): {line} (R² {self.r_squared:.4f})"


@dataclass(frozen=True)
class SyntheticReports:
    """A report for each bit width, in the order asked for."""

    specs: list[SyntheticSpec]
    reports: list[Report]

    def fits(self) -> list[Fit]:
        """Time per decoded token over bits, for each number of threads; needs three widths."""
        if len(self.specs) < 3:
            return []
        return [self._fit(threads) for threads in self.reports[0].memory_read]

    def _fit(self, threads: int) -> Fit:
        bits = np.array([spec.stored_bits for spec in self.specs], dtype=np.float64)
        times = np.array([1000 / report.decode_rate(threads) for report in self.reports])
        slope, intercept = np.polyfit(bits, times, 1)
        unexplained = float(((times - slope * bits - intercept) ** 2).sum())
        spread = float(((times - times.mean()) ** 2).sum())
        return Fit(threads, float(slope), float(intercept), 1 - unexplained / spread if spread else 1.0)

    def as_dict(self) -> dict[str, object]:
        """What --json prints: one report as `lutmac bench MODEL` has it, or several and the fits."""
        if len(self.reports) == 1:
            return self.reports[0].as_dict()
        return {
            "models": [{"bits": s.stored_bits, **r.as_dict()} for s, r in zip(self.specs, self.reports, strict=True)],
            "time_per_token_by_bits": [vars(fit) for fit in self.fits()],
        }

    @property
    def traced(self) -> list[TracedRun]:
        """The traced runs of all models."""
        return [run for report in self.reports for run in report.traced]

    def print(self) -> None:
        """The reports as tables."""
        for index, report in enumerate(self.reports):
            if index:
                print()
            report.print()
        for fit in self.fits():
            print(f"time per token: {fit}")


def run_synthetic(
    specs: list[SyntheticSpec], threads: list[int] | None, plan: Plan, streams: list[int], progress: Progress
) -> SyntheticReports:
    """Makes each model, measures it, and drops it before the next."""
    counts = threads or [_native.default_threads()]
    machine_meter()  # while nothing runs yet
    reports = []
    for spec in specs:
        reports.append(_measure(spec, counts, plan, streams, progress))
        gc.collect()  # a model's memory before the next one's
    return SyntheticReports(specs, reports)


def _measure(spec: SyntheticSpec, counts: list[int], plan: Plan, streams: list[int], progress: Progress) -> Report:
    model = make_synthetic(
        spec,
        target=resolve_target(None),
        threads=max(counts),
        context=plan.longest_sequence,
        max_sequences=max(16, *streams) if streams else 16,
        kv_cache=plan.kv_cache,
        progress=progress,
    )
    contestant = EngineContestant(model.engine)
    contestant.prefill("", max(counts), plan.prompt_tokens)
    peak = _native.peak_resident_bytes()
    rates, memory_read = measure_all([contestant], counts, plan, progress)
    return Report(
        model=spec.name,
        isa=model.target,
        bytes_per_token=model.bytes_per_token,
        memory_read=memory_read,
        peak_memory_bytes=peak,
        rates=rates,
        peer_version=None,
        cache_bytes_per_position=model.cache_bytes_per_position,
        kv_cache=plan.kv_cache,
        streams=measure_streams(contestant, counts, plan, streams),
        state_bytes=model.engine.slot_bytes,
        traced=trace_runs(contestant, spec.name, counts, plan),
        energy=machine_meter(),
    )
