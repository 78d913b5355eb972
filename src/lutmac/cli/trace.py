"""`lutmac bench --trace FILE`: what each thread did and when, for a trace viewer; where the time went, as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.measure import Phase, Plan
from lutmac.cli.output import print_table
from lutmac.engine.running.trace import Trace
from lutmac.errors import InvalidRequestError

DECODED: Final = 16  # tokens of a traced run, at most


@dataclass(frozen=True)
class Part:
    """What one kind of operation took. milliseconds: of all threads together, for a step. share: of the threads' time.

    waiting: the share in which a thread that had ended its tasks waited for the others'.
    """

    name: str
    milliseconds: float
    share: float
    waiting: float


@dataclass(frozen=True)
class TracedRun:
    """One phase of one model with some number of threads."""

    model: str
    phase: Phase
    threads: int
    trace: Trace

    @property
    def title(self) -> str:
        """What a trace viewer shows it as."""
        return f"{self.model}: {self.phase}, {'1 thread' if self.threads == 1 else f'{self.threads} threads'}"

    def parts(self) -> list[Part]:
        """Where the time went by kind of operation, the longest first."""
        whole = _nanoseconds(self.trace.steps, 4, 5)
        steps = int((self.trace.steps[:, 0] == 0).sum())
        found = []
        names = np.array([operation.name for operation in self.trace.operations])
        of_events = names[self.trace.parts[:, 1]]
        for name in sorted(set(of_events.tolist())):
            events = self.trace.parts[of_events == name]
            running, waiting = _nanoseconds(events, 4, 5), _nanoseconds(events, 5, 6)
            found.append(Part(name, running / steps / 1e6, running / whole, waiting / whole))
        return sorted(found, key=lambda part: part.share + part.waiting, reverse=True)

    def as_dict(self) -> dict[str, object]:
        """What --json prints of it."""
        return {
            "model": self.model,
            "phase": self.phase,
            "threads": self.threads,
            "operations": [vars(part) for part in self.parts()],
        }

    def print(self) -> None:
        """A table of where the time went."""
        rows = [[p.name, f"{p.milliseconds:.3f}", f"{p.share:.1%}", f"{p.waiting:.1%}"] for p in self.parts()]
        print(f"\n{self.title}")
        print_table(["operation", "ms/step", "of time", "waiting"], rows, left=1)

    def events(self, process: int) -> Iterator[dict[str, Any]]:
        """Events of Chrome's trace format, with times in microseconds."""
        yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": self.title}}
        for thread in range(self.threads):
            yield {
                "ph": "M",
                "pid": process,
                "tid": thread,
                "name": "thread_name",
                "args": {"name": f"thread {thread}"},
            }
        for thread, operation, phase, tasks, begin, end, released in self.trace.events.tolist():
            place = {"ph": "X", "pid": process, "tid": thread}
            if operation < 0:
                yield {**place, "name": "step", "cat": "step", **_span(begin, end), "args": {"tokens": tasks}}
                continue
            traced = self.trace.operations[operation]
            args = {"operation": operation, "phase": phase, "tasks": tasks, "detail": traced.detail}
            if traced.layer is not None:
                args["layer"] = traced.layer
            if tasks:
                yield {**place, "name": traced.name, "cat": "operation", **_span(begin, end), "args": args}
            yield {**place, "name": "wait", "cat": "wait", **_span(end if tasks else begin, released), "args": args}


def trace_runs(contestant: EngineContestant, model: str, counts: list[int], plan: Plan) -> list[TracedRun]:
    """Runs each phase once more, traced, if the plan says so."""
    engine, runs = contestant.engine, []
    for threads in counts if plan.traced else []:
        engine.start_trace()
        contestant.prefill("", threads, plan.prompt_tokens)
        runs.append(TracedRun(model, "prefill", threads, engine.take_trace()))
        engine.start_trace()
        contestant.decode("", threads, plan.depth, min(DECODED, plan.decode_tokens))
        runs.append(TracedRun(model, "decode", threads, engine.take_trace().decoding()))
    return runs


def write_trace(path: Path, runs: list[TracedRun]) -> None:
    """Writes what chrome://tracing and ui.perfetto.dev open. Raises InvalidRequestError where that cannot be done."""
    events = [event for process, run in enumerate(runs) for event in run.events(process)]
    try:
        with path.open("w", encoding="utf-8") as file:
            json.dump({"displayTimeUnit": "ns", "traceEvents": events}, file)
    except OSError as error:
        raise InvalidRequestError(f"cannot write {path}: {error.strerror}") from None


def _span(begin: int, end: int) -> dict[str, float]:
    return {"ts": begin / 1000, "dur": (end - begin) / 1000}


def _nanoseconds(events: NDArray[np.int64], begin: int, end: int) -> int:
    return int((events[:, end] - events[:, begin]).sum())
