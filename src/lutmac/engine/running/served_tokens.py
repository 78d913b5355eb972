"""Tokens that each client has had: the client with the fewest is next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LEAD: Final = 1024  # tokens that a client which comes has ahead of those that are there: prompts of most chats
MOST_REMEMBERED: Final = 1024  # clients


class ServedTokens:
    """Counts the tokens that each client has had; the one with the fewest is next.

    What a client did not use while it was away is lost but for ``LEAD``: counts of those that come are set to the
    level of those that are there, less that. So a newcomer goes first with a prompt of ordinary length, and neither
    keeps the others waiting for longer, nor has to make up for what it had when nobody else was there (start-time fair
    queueing, Goyal, Vin and Cheng 1996).
    """

    def __init__(self) -> None:
        """Nobody has come yet."""
        self._served: dict[str, int] = {}
        self._level = 0  # of the least served client that was there

    def enter(self, clients: Iterable[str]) -> None:
        """Takes note of who is there: all that have anything to run."""
        there = {client: max(self._served.get(client, 0), self._level - LEAD) for client in clients}
        if not there:
            return
        self._level = max(self._level, min(there.values()))
        self._served |= there
        if len(self._served) > MOST_REMEMBERED + len(there):
            self._served = there

    def of(self, client: str) -> int:
        """Tokens, of a client that is there."""
        return self._served[client]

    def serve(self, client: str, tokens: int) -> None:
        """Counts what a client that is there gets."""
        self._served[client] += tokens
