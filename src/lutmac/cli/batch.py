"""`lutmac batch`: a file of requests, answered without a server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar
from lutmac.cli.serve import Names, check_installed

if TYPE_CHECKING:
    from lutmac.batch.local import LocalAnswerer

Source = Annotated[Path, typer.Argument(metavar="IN.jsonl", help="Requests in OpenAI's batch format, one a line.")]
Destination = Annotated[
    Path, typer.Argument(metavar="OUT.jsonl", help="Where replies are appended; what it answers is not run again.")
]
BatchModel = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help="A GGUF file, a Hugging Face directory, or a name of `pull`."),
]


def batch(
    source: Source,
    destination: Destination,
    *,
    model: BatchModel = options.DEFAULT_MODEL,
    name: Names = None,
    threads: options.Threads = None,
    context: options.Context = None,
    precision: options.PrecisionOption = options.Precision.default,
    kv_cache: options.KVCacheOption = options.KVCache.f16,
) -> None:
    """Answer a file of requests in OpenAI's batch format; run it again after a kill and it goes on.

    Each line of OUT.jsonl answers one of IN.jsonl, in no particular order, and is on the disk before it counts.

    Example: lutmac batch requests.jsonl replies.jsonl --model smollm2
    """
    check_installed()
    from lutmac.batch.run import run_batch  # noqa: PLC0415 - and the engine with it
    from lutmac.engine.resolve import resolve  # noqa: PLC0415

    resolve(model)  # a mistake shows before a file is made
    arguments = {"threads": threads, "context": context, "precision": precision.value, "kv_cache": kv_cache.value}
    with ProgressBar() as bar:

        def answer(requests: Iterator[Any]) -> Iterator[list[dict[str, Any]]]:
            yield from _answer_here(model, tuple(name or ()), bar, arguments)(requests)

        tally = run_batch(source, destination, answer, bar)
    earlier = f", {tally.earlier} earlier" if tally.earlier else ""
    print(f"{destination}: {tally.answered} answered, {tally.refused} refused{earlier}", file=sys.stderr)


def _answer_here(
    path_or_name: str, names: tuple[str, ...], bar: ProgressBar, arguments: dict[str, Any]
) -> LocalAnswerer:
    import lutmac  # noqa: PLC0415
    from lutmac.batch.local import LocalAnswerer  # noqa: PLC0415
    from lutmac.server.app import default_names  # noqa: PLC0415

    loaded = lutmac.load(path_or_name, progress=bar, **arguments)
    return LocalAnswerer(loaded, names or default_names(loaded, path_or_name))
