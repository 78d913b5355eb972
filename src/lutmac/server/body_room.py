"""Limits the bytes of request bodies that the server holds at a time, for one client and for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lutmac.server.clients import current_client
from lutmac.server.errors import RETRY_SECONDS, ApiError

LARGEST_AT_ONCE: Final = 32  # of the largest bodies that are taken, all clients together; one client's share is half


class BodyRoom:
    """Counts bytes by client. For one event loop."""

    def __init__(self, largest: int) -> None:
        """largest: bytes that one body may have."""
        self._most = LARGEST_AT_ONCE * largest
        self._held: Counter[str] = Counter()

    @contextmanager
    def taken(self) -> Iterator[Held]:
        """Counts the body of the running task's request until the request has been answered."""
        held = Held(self, current_client.get())
        try:
            yield held
        finally:
            held.end()

    def change(self, client: str, count: int) -> None:
        """Adds bytes, or subtracts them. Raises ApiError (429) if that exceeds a limit."""
        if count > 0 and (self._held[client] + count > self._most // 2 or self._held.total() + count > self._most):
            raise ApiError(429, "too many large requests are being read already", retry_after=RETRY_SECONDS)
        self._held[client] += count
        if not self._held[client]:
            del self._held[client]


class Held:
    """The bytes of one body."""

    def __init__(self, room: BodyRoom, client: str) -> None:
        """Without bytes."""
        self.bytes = 0
        self._room = room
        self._client = client

    def grow(self, count: int) -> None:
        """Sets the number of bytes. Raises ApiError (429)."""
        self._room.change(self._client, max(0, count - self.bytes))
        self.bytes = max(self.bytes, count)

    def end(self) -> None:
        """The body is no longer held."""
        self._room.change(self._client, -self.bytes)
