"""`lutmac list`: the models that have been pulled."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.output import format_bytes, print_json, print_table


def list_models(
    *,
    known: Annotated[bool, typer.Option("--known", help="List the short names that `lutmac pull` knows.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the models that have been pulled, the newest first.

    Example: lutmac list
    """
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if known:
        _print_known(as_json=as_json)
        return
    from lutmac.engine.loading.stored import stored_models  # noqa: PLC0415 - too slow for a help text

    models = stored_models()
    if as_json:
        entries = [
            {"name": model.name, "path": str(model.path), "bytes": model.bytes, "modified": model.modified}
            for model in models
        ]
        print_json({"models": entries})
    elif not models:
        print(f"no model has been pulled; `lutmac pull {options.DEFAULT_MODEL}` obtains the default one (98 MB)")
    else:
        rows = [[model.name, format_bytes(model.bytes), _day(model.modified)] for model in models]
        print_table(["name", "size", "pulled"], rows)


def _print_known(*, as_json: bool) -> None:
    from lutmac.engine.loading.hub_names import SHORT_NAMES  # noqa: PLC0415 - as above

    if as_json:
        print_json({"names": SHORT_NAMES})
    else:
        print_table(["name", "what it is"], [[name, target] for name, target in SHORT_NAMES.items()], left=2)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
