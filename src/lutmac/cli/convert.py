"""`lutmac convert`: writes a model in the form that is mapped into memory instead of read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar, format_bytes, print_json


def convert(
    model: options.Model,
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The directory to write; it must not exist.")],
    *,
    isa: Annotated[
        str | None, typer.Option("--isa", help="ISA target to pack for; default: the best that this CPU runs.")
    ] = None,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """Convert a model to lutmac's own format. It is then ready at once, and shared between processes.

    Example: lutmac convert smollm2 smollm2-packed
    """
    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    with ProgressBar(shown=not as_json) as bar:
        converted = lutmac.convert(model, destination, isa=isa, threads=threads, progress=bar)
    if as_json:
        print_json({**asdict(converted), "path": str(converted.path)})
    else:
        size = format_bytes(converted.bytes)
        print(f"{converted.path}: {converted.tensors} tensors packed for {converted.target}, {size}")
