"""What one request has had of the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Share:
    """Shared by all sequences of a request, which the scheduler serves as one.

    So a request of many texts or replies gets no more of a step than one of a single text. client: a name for whose
    request it is: clients have places in turn. served: tokens that have run.
    """

    client: str = ""
    served: int = 0
