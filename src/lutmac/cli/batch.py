"""`lutmac batch`: a file of requests, answered without a server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lutmac.cli import options, ray_options
from lutmac.cli.obtain import obtain_default
from lutmac.cli.output import ProgressBar
from lutmac.cli.serve import Names, check_installed

if TYPE_CHECKING:
    from lutmac.batch.local import LocalAnswerer
    from lutmac.batch.output import Entry
    from lutmac.batch.requests import BatchRequest

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
    loading: options.Loading,
    cluster: ray_options.ClusterOptions,
) -> None:
    """Answer a file of requests in OpenAI's batch format; run it again after a kill and it goes on.

    Each line of OUT.jsonl answers one of IN.jsonl, in no particular order, and is on the disk before it counts.

    Example: lutmac batch requests.jsonl replies.jsonl --model smollm2
    """
    check_installed()
    from lutmac.batch.run import run_batch  # noqa: PLC0415 - and the engine with it

    cluster.check()
    place = ray_options.place_of(model)  # a mistake shows before a file is made
    names = tuple(name or ())
    with ProgressBar() as bar:

        def answer(requests: Iterator[BatchRequest]) -> Iterator[list[Entry]]:
            if cluster.ray:
                yield from _answer_there(place, names, cluster, loading, requests)
            else:
                yield from _answer_here(model, names, bar, loading)(requests)

        tally = run_batch(source, destination, answer, bar)
    earlier = f", {tally.earlier} earlier" if tally.earlier else ""
    print(f"{destination}: {tally.answered} answered, {tally.refused} refused{earlier}", file=sys.stderr)


def _answer_here(
    path_or_name: str, names: tuple[str, ...], bar: ProgressBar, loading: options.Loading
) -> LocalAnswerer:
    import lutmac  # noqa: PLC0415
    from lutmac.batch.local import LocalAnswerer  # noqa: PLC0415
    from lutmac.server.app import default_names  # noqa: PLC0415

    obtain_default(path_or_name, bar)
    loaded = lutmac.load(path_or_name, progress=bar, **loading.arguments())
    return LocalAnswerer(loaded, names or default_names(loaded, path_or_name))


def _answer_there(
    place: str,
    names: tuple[str, ...],
    cluster: ray_options.ClusterOptions,
    loading: options.Loading,
    requests: Iterator[BatchRequest],
) -> Iterator[list[Entry]]:
    from lutmac.cluster.connection import connected, share_out  # noqa: PLC0415
    from lutmac.server.settings import Settings  # noqa: PLC0415

    arguments = loading.arguments()
    threads = arguments.pop("threads")
    with connected(cluster.ray_address):
        from lutmac.cluster.batch import ClusterAnswerer  # noqa: PLC0415 - Ray takes seconds
        from lutmac.cluster.replica import ReplicaSpec  # noqa: PLC0415

        shares = share_out(cluster.replicas, threads)
        spec = ReplicaSpec(place, shares.threads, arguments, Settings(names=names))
        yield from ClusterAnswerer(spec, shares)(requests)
