"""Which ISA target runs: the caller's choice, else LUTMAC_ISA, else the best that this CPU has."""

from __future__ import annotations

import os

from lutmac import _native
from lutmac.errors import UnsupportedISAError

ENVIRONMENT_VARIABLE = "LUTMAC_ISA"


def resolve_target(isa: str | None = None) -> str:
    """The name of the ISA target to use.

    Raises UnsupportedISAError where the one asked for is unknown, is not in this build or cannot run on this CPU.
    """
    available = _native.available_targets()
    asked = isa or os.environ.get(ENVIRONMENT_VARIABLE) or available[0]
    if asked in available:
        return asked
    source = "isa" if isa else ENVIRONMENT_VARIABLE
    built = _native.built_targets()
    reason = "this CPU cannot run it" if asked in built else f"this build has {', '.join(built)}"
    raise UnsupportedISAError(f"{source}={asked}: {reason}; this CPU runs {', '.join(available)}")
