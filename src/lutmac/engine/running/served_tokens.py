"""Tokens that each client has had: the client with the fewest is next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LEAD: Final = 1024  # tokens by which a new client is ahead of the others: more than most prompts have
MOST_REMEMBERED: Final = 1024  # clients


class ServedTokens:
    """Counts the tokens that each client has had. The client with the fewest is next.

    This is start-time fair queueing (Goyal, Vin and Cheng, 1996). A client that comes, or comes back, gets the count of
    the least served client that is there, less ``LEAD``. So a prompt of ordinary length goes first, the others do not
    wait longer than that, and a client does not pay for what it had while no other was there.
    """

    def __init__(self) -> None:
        """Nobody has come yet."""
        self._served: dict[str, int] = {}
        self._level = 0  # tokens of the least served client

    def enter(self, clients: Iterable[str]) -> None:
        """Sets who is there: the clients of all running sequences."""
        there = {client: max(self._served.get(client, 0), self._level - LEAD) for client in clients}
        if not there:
            return
        self._level = max(self._level, min(there.values()))
        self._served |= there
        if len(self._served) > MOST_REMEMBERED + len(there):
            self._served = there

    def of(self, client: str) -> int:
        """Tokens that a client has had. The client must be there."""
        return self._served[client]

    def serve(self, client: str, tokens: int) -> None:
        """Counts tokens of a client that is there."""
        self._served[client] += tokens
