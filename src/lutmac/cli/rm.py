"""`lutmac rm`: removes models that have been pulled."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lutmac.cli.output import format_bytes


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names, as `lutmac list` has them.")],
) -> None:
    """Remove models that have been pulled.

    Example: lutmac rm qwen3:0.6b
    """
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    from lutmac.engine.loading.stored import remove_model  # noqa: PLC0415 - too slow for a help text

    for name in names:
        model = remove_model(name)
        print(f"removed {model.name} ({format_bytes(model.bytes)})")
