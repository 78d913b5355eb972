"""`lutmac bench`: prefill and decode rates against what the memory gives, and against llama.cpp."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar, print_json
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac.cli.measure import Plan


class Peer(StrEnum):
    """Engines that lutmac can be measured against."""

    llama_cpp = "llama.cpp"


ModelOrKernels = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL|kernels",
        help="A GGUF file, or a name that `lutmac pull` takes; `kernels` measures the matrix products alone.",
    ),
]
ThreadCounts = Annotated[
    str | None,
    typer.Option("--threads", "-t", metavar="N[,N...]", help="Thread counts, as in 1,2; default: the usable cores."),
]
PromptTokens = Annotated[
    int, typer.Option("--prompt-tokens", "--prompt", "-p", min=1, help="Tokens per measured prefill.")
]
DecodeTokens = Annotated[int, typer.Option("--decode-tokens", min=1, help="Tokens per measured decode.")]
Depth = Annotated[int, typer.Option("--context", "-c", min=0, help="Tokens in the KV cache before decoding begins.")]
Repeat = Annotated[int, typer.Option("--repeat", "-r", min=1, help="Measured runs, after one that is not.")]
Versus = Annotated[Peer | None, typer.Option("--vs", help="Measure this engine on the same file in the same run.")]
Synthetic = Annotated[
    str | None,
    typer.Option(
        "--synthetic",
        metavar="SHAPE",
        help="Random weights instead of a file: llama-2-7b, llama-3-8b, bitnet-3b, qwen2.5-3b, smollm2-135m, "
        "bonsai2-27b, qwen3.5-9b, qwen3.6-35b-a3b, gpt-oss-20b or maple-20b-a1b; fewer layers where memory is short.",
    ),
]
Bits = Annotated[
    str | None,
    typer.Option(
        "--bits",
        metavar="N[,N...]",
        help="Bits per weight, 1 to 8, or ternary, ptq1_0 and tq1_0: with a scale per row, or for each 128 and 256 "
        "weights; for kernels also iq4_nl, mxfp4, nvfp4 and nf4. Default: what people run a shape in, else 2.",
    ),
]
GroupSize = Annotated[
    int, typer.Option("--group-size", min=0, help="Weights that share a scale; 0: a row (--synthetic and kernels).")
]
Layers = Annotated[int | None, typer.Option("--layers", min=1, help="Fewer layers than the shape has (--synthetic).")]
Streams = Annotated[
    str | None,
    typer.Option("--streams", metavar="N[,N...]", help="Also decode so many sequences together."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the JSON to a file, too.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="DIR", help="Draw pictures (--synthetic with several bits; kernels).")
]


class _Report(Protocol):
    def as_dict(self) -> dict[str, object]: ...
    def print(self) -> None: ...


def bench(
    model: ModelOrKernels = None,
    *,
    threads: ThreadCounts = None,
    prompt_tokens: PromptTokens = 128,
    decode_tokens: DecodeTokens = 64,
    context: Depth = 0,
    repeat: Repeat = 5,
    kv_cache: options.KVCacheOption = options.KVCache.f16,
    versus: Versus = None,
    synthetic: Synthetic = None,
    bits: Bits = None,
    group_size: GroupSize = 128,
    layers: Layers = None,
    streams: Streams = None,
    output: Output = None,
    plot: Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure speed. Prefill and decode rates, and the memory's read rate in the same run.

    Example: lutmac bench smollm2 --threads 1,2 --vs llama.cpp

    Example: lutmac bench --synthetic llama-2-7b --bits 1,2,3,4 --threads 1,2 --plot pictures
    """
    if (model is None) == (synthetic is None):
        raise InvalidRequestError("bench wants either a model (or `kernels`) or --synthetic SHAPE")
    counts = options.parse_counts(threads, "--threads") if threads is not None else None
    numbers = options.parse_counts(streams, "--streams") if streams is not None else []
    if plot is not None:
        from lutmac.cli.plots import check_matplotlib  # noqa: PLC0415 - rarely asked for

        check_matplotlib()

    from lutmac.cli.measure import Plan  # noqa: PLC0415 - imports the engine

    plan = Plan(prompt_tokens, decode_tokens, context, repeat, kv_cache.value)
    report: _Report
    with ProgressBar(shown=not as_json) as bar:
        if synthetic is not None:
            report = _synthetic(synthetic, bits, group_size, layers, counts, plan, numbers, plot, bar)
        elif model == "kernels":
            report = _kernels(bits or "2", group_size, counts, repeat, plot, bar)
        else:
            from lutmac.cli.benchmark import run_benchmark  # noqa: PLC0415 - imports the engine

            assert model is not None
            report = run_benchmark(model, counts, plan, numbers, versus=versus is not None, progress=bar)
    if output is not None:
        options.write_json(output, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        report.print()


def _synthetic(
    shape: str,
    bits: str | None,
    group_size: int,
    layers: int | None,
    counts: list[int] | None,
    plan: Plan,
    streams: list[int],
    plot: Path | None,
    bar: ProgressBar,
) -> _Report:
    from lutmac.cli.kernel_codes import TERNARY_GROUPS  # noqa: PLC0415 - as above
    from lutmac.cli.synthetic_benchmark import run_synthetic  # noqa: PLC0415 - imports the engine
    from lutmac.engine.measuring.synthetic import SHAPES, SyntheticSpec  # noqa: PLC0415 - as above

    if bits is None:
        bits = SHAPES[shape].codes if shape in SHAPES else "2"
    specs = [
        SyntheticSpec(shape, 2, TERNARY_GROUPS[part], layers=layers, ternary=True).fitting()
        if part in TERNARY_GROUPS
        else SyntheticSpec(shape, options.parse_counts(part, "--bits")[0], group_size, layers=layers).fitting()
        for part in map(str.strip, bits.split(","))
    ]
    reports = run_synthetic(specs, counts, plan, streams, bar)
    if plot is not None:
        from lutmac.cli.plots import plot_bits  # noqa: PLC0415 - an extra

        plot_bits(reports, plot)
    return reports


def _kernels(
    bits: str, group_size: int, counts: list[int] | None, repeat: int, plot: Path | None, bar: ProgressBar
) -> _Report:
    from lutmac.cli.kernel_benchmark import KernelPlan, run_kernels  # noqa: PLC0415 - imports the engine
    from lutmac.cli.kernel_codes import parse_codes  # noqa: PLC0415 - as above

    report = run_kernels(KernelPlan(parse_codes(bits, group_size), (1, 8, 128), repeat), counts, bar)
    if plot is not None:
        from lutmac.cli.plots import plot_roofline  # noqa: PLC0415 - an extra

        plot_roofline(report, plot)
    return report
