"""`lutmac pull`: obtains a model file and says where it lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar, print_json


def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"{options.DEFAULT_MODEL}, qwen3:0.6b and others (`lutmac list --known`), or "
            "hf:ORGANISATION/REPOSITORY, with :Q4_K_M or /FILE for a GGUF file.",
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Obtain a model. Prints where its file lies.

    Example: lutmac pull smollm2
    """
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # huggingface_hub would tell of every retry
    if as_json:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    with ProgressBar(shown=not as_json) as bar:
        path = lutmac.pull(name, progress=bar)
    if as_json:
        print_json({"name": name, "path": str(path), "bytes": _bytes(path)})
    else:
        print(path)


def _bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
