"""Delays refusals for a client that is refused often: each refusal takes time from other requests."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

PER_SECOND: Final = 20.0  # refusals of a client that are told at once; who comes to know an interface makes fewer
BURST_SECONDS: Final = 2.0  # of them may come together
LONGEST_SECONDS: Final = 1.0


class Refusals:
    """Counts refusals by client, as a leaky bucket. For one event loop."""

    def __init__(self) -> None:
        """Without refusals."""
        self._full_until: dict[str, float] = {}  # by which time the client's bucket is empty again

    def delay(self, client: str) -> float:
        """Counts a refusal. Returns the seconds to wait before it is sent."""
        now = monotonic()
        for other in [name for name, until in self._full_until.items() if until <= now]:
            del self._full_until[other]
        until = self._full_until.get(client, now) + 1 / PER_SECOND
        self._full_until[client] = min(until, now + BURST_SECONDS + LONGEST_SECONDS)
        return min(LONGEST_SECONDS, max(0.0, until - now - BURST_SECONDS))

    async def wait(self, client: str) -> None:
        """Waits until a refusal may be sent."""
        seconds = self.delay(client)
        if seconds:
            await asyncio.sleep(seconds)
