"""What one request has had of the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Share:
    """Shared by all sequences of a request: many texts together get no more than a single one.

    client: a name for whoever sent the request. served: tokens that have been computed for it.
    """

    client: str = ""
    served: int = 0
