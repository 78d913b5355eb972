"""`lutmac bench`: prefill and decode rates against what the memory gives, and against llama.cpp."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar, print_json


class Peer(StrEnum):
    """Engines that lutmac can be measured against."""

    llama_cpp = "llama.cpp"


ThreadCounts = Annotated[
    str | None,
    typer.Option("--threads", "-t", metavar="N[,N...]", help="Thread counts, as in 1,2; default: the usable cores."),
]
PromptTokens = Annotated[int, typer.Option("--prompt-tokens", min=1, help="Tokens per measured prefill.")]
DecodeTokens = Annotated[int, typer.Option("--decode-tokens", min=1, help="Tokens per measured decode.")]
Depth = Annotated[int, typer.Option("--context", "-c", min=0, help="Tokens in the KV cache before decoding begins.")]
Repeat = Annotated[int, typer.Option("--repeat", "-r", min=1, help="Measured runs, after one that is not.")]
Versus = Annotated[Peer | None, typer.Option("--vs", help="Measure this engine on the same file in the same run.")]


def bench(
    model: options.Model,
    *,
    threads: ThreadCounts = None,
    prompt_tokens: PromptTokens = 128,
    decode_tokens: DecodeTokens = 64,
    context: Depth = 0,
    repeat: Repeat = 5,
    versus: Versus = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure speed. Prefill and decode rates, and the memory's read rate in the same run.

    Example: lutmac bench smollm2 --threads 1,2 --vs llama.cpp
    """
    counts = options.parse_threads(threads) if threads is not None else None

    from lutmac.cli.benchmark import run_benchmark  # noqa: PLC0415 - imports the engine
    from lutmac.cli.measure import Plan  # noqa: PLC0415 - as above

    plan = Plan(prompt_tokens, decode_tokens, context, repeat)
    with ProgressBar(shown=not as_json) as bar:
        report = run_benchmark(model, counts, plan, versus=versus is not None, progress=bar)
    if as_json:
        print_json(report.as_dict())
    else:
        report.print()
