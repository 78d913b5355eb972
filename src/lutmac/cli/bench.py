"""`lutmac bench`: prefill and decode rates against what the memory gives, and against llama.cpp."""

from __future__ import annotations

from typing import Annotated, Protocol

import typer

from lutmac.cli import options
from lutmac.cli.bench_options import ARRAY_GHZ, BITS, BenchOptions
from lutmac.cli.model_words import complete_model
from lutmac.cli.output import ProgressBar, print_json
from lutmac.errors import InvalidRequestError

ModelOrKernels = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL|kernels",
        help="A GGUF file, or a name that `lutmac pull` takes; `kernels` measures the matrix products alone.",
        autocompletion=complete_model,
    ),
]


class _Report(Protocol):
    def as_dict(self) -> dict[str, object]: ...
    def print(self) -> None: ...


def bench(model: ModelOrKernels = None, *, given: BenchOptions, as_json: options.AsJson = False) -> None:
    """Measure speed. Prefill and decode rates, and the memory's read rate in the same run.

    Example: lutmac bench smollm2 --threads 1,2 --vs llama.cpp

    Example: lutmac bench --synthetic llama-2-7b --bits 1,2,3,4 --threads 1,2 --plot pictures
    """
    kind = given.kind(model)
    given.check_output()
    with ProgressBar(shown=not as_json) as bar:
        match kind:
            case "--synthetic":
                report = _synthetic(given, bar)
            case "kernels":
                report = _kernels(given, bar)
            case "a model":
                assert model is not None
                report = _model(model, given, bar)
    if given.output is not None:
        options.write_json(given.output, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        report.print()


def _model(name: str, given: BenchOptions, bar: ProgressBar) -> _Report:
    counts, streams = given.thread_counts, given.stream_counts
    from lutmac.cli.benchmark import run_benchmark  # noqa: PLC0415 - imports the engine
    from lutmac.cli.trace import write_trace  # noqa: PLC0415 - as above

    report = run_benchmark(name, counts, given.plan(), streams, versus=given.vs is not None, progress=bar)
    if given.trace is not None:
        write_trace(given.trace, report.traced)
    return report


def _synthetic(given: BenchOptions, bar: ProgressBar) -> _Report:
    counts, streams, size = given.thread_counts, given.stream_counts, given.weights_per_scale
    from lutmac.cli.kernel_codes import TERNARY_GROUPS  # noqa: PLC0415 - imports the engine
    from lutmac.cli.synthetic_benchmark import run_synthetic  # noqa: PLC0415 - as above
    from lutmac.engine.measuring.synthetic import SHAPES, SyntheticSpec  # noqa: PLC0415 - as above

    shape = given.synthetic
    assert shape is not None
    widths = given.bit_widths(SHAPES[shape].codes if shape in SHAPES else BITS)
    if given.plot is not None and len(widths) < 2:
        raise InvalidRequestError("--plot goes with several --bits, as in --bits 2,3,4")
    specs = [
        SyntheticSpec(shape, 2, TERNARY_GROUPS[part], layers=given.layers, ternary=True).fitting()
        if part in TERNARY_GROUPS
        else SyntheticSpec(shape, options.parse_counts(part, "--bits")[0], size, layers=given.layers).fitting()
        for part in widths
    ]
    reports = run_synthetic(specs, counts, given.plan(), streams, bar)
    if given.trace is not None:
        from lutmac.cli.trace import write_trace  # noqa: PLC0415 - as above

        write_trace(given.trace, reports.traced)
    if given.plot is not None:
        from lutmac.cli.plots import plot_bits  # noqa: PLC0415 - an extra

        plot_bits(reports, given.plot)
    return reports


def _kernels(given: BenchOptions, bar: ProgressBar) -> _Report:
    counts = given.thread_counts
    from lutmac.cli.kernel_benchmark import KernelPlan, run_kernels  # noqa: PLC0415 - imports the engine
    from lutmac.cli.kernel_codes import parse_codes  # noqa: PLC0415 - as above

    codes = parse_codes(given.bit_widths(BITS), given.weights_per_scale)
    if given.bounds:
        from lutmac.cli.kernel_bounds import LutArray, run_bounds  # noqa: PLC0415 - as above

        return run_bounds(codes, LutArray((given.array_clock or ARRAY_GHZ) * 1e9, given.arrays or 1), bar)
    report = run_kernels(KernelPlan(codes, (1, 8, 128), given.repeat), counts, bar)
    if given.plot is not None:
        from lutmac.cli.plots import plot_roofline  # noqa: PLC0415 - an extra

        plot_roofline(report, given.plot)
    return report
