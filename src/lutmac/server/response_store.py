"""Responses that clients may read again or continue: in memory, for a limited time, and within a limit of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from pydantic import TypeAdapter

from lutmac.server.errors import ApiError
from lutmac.server.schemas.responses import InputItem, Response

_ITEMS: Final = TypeAdapter(list[InputItem])
_OVERHEAD_BYTES: Final = 1024  # of an entry, beside its texts


@dataclass(frozen=True)
class _Entry:
    """A response, and the conversation up to its end, as JSON (objects would take many times the bytes counted).

    inputs: number of items before its own. end: when it is deleted, in seconds of the monotonic clock.
    """

    response: bytes
    items: bytes
    inputs: int
    end: float

    @property
    def size(self) -> int:
        return len(self.response) + len(self.items) + _OVERHEAD_BYTES


class ResponseStore:
    """The latest responses by their ids. For one event loop."""

    def __init__(self, most_bytes: int, lifetime: float) -> None:
        """most_bytes: of all together; the oldest are deleted first, 0 keeps none. lifetime: of each, in seconds."""
        self._most_bytes = most_bytes
        self._lifetime = lifetime
        self._entries: dict[str, _Entry] = {}  # in the order of their ends
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)

    @property
    def enabled(self) -> bool:
        """Whether anything is kept."""
        return self._most_bytes > 0

    def put(self, response: Response, items: Sequence[InputItem], inputs: int) -> None:
        """Keeps a response, unless it alone is too large.

        items: the conversation up to its end, without instructions. inputs: how many of these were there before it.
        """
        body, conversation = response.model_dump_json().encode(), _ITEMS.dump_json(list(items), exclude_none=True)
        entry = _Entry(body, conversation, inputs, monotonic() + self._lifetime)
        if entry.size > self._most_bytes:
            return
        self._entries[response.id] = entry
        self._size += entry.size
        while self._size > self._most_bytes:
            self._remove(next(iter(self._entries)))
        self._schedule()

    def response(self, id: str) -> bytes:
        """A response, as JSON. Raises ApiError (404)."""
        return self._find(id).response

    def input(self, id: str) -> list[InputItem]:
        """The conversation up to a response's beginning. Raises ApiError (404)."""
        entry = self._find(id)
        return _ITEMS.validate_json(entry.items)[: entry.inputs]

    def items(self, id: str) -> list[InputItem]:
        """The conversation up to a response's end. Raises ApiError (400), since a request's body names the id."""
        try:
            return _ITEMS.validate_json(self._find(id).items)
        except ApiError as error:
            raise ApiError(
                400, error.message, code="previous_response_not_found", param="previous_response_id"
            ) from None

    def delete(self, id: str) -> None:
        """Deletes a response. Raises ApiError (404)."""
        self._find(id)
        self._remove(id)

    def _find(self, id: str) -> _Entry:
        self._expire()
        entry = self._entries.get(id)
        if entry is None:
            why = (
                f"responses are kept for {self._lifetime:g} seconds, while there is room, unless store is false"
                if self.enabled
                else "this server keeps none"
            )
            raise ApiError(404, f"Response with id {id[:100]!r} not found: {why}", code="response_not_found")
        return entry

    def _remove(self, id: str) -> None:
        self._size -= self._entries.pop(id).size

    def _expire(self) -> None:
        now = monotonic()
        while self._entries and next(iter(self._entries.values())).end <= now:
            self._remove(next(iter(self._entries)))

    def _schedule(self) -> None:
        """Makes sure that the oldest is deleted at the end of its lifetime."""
        if self._timer is None and self._entries:
            left = next(iter(self._entries.values())).end - monotonic()
            self._timer = asyncio.get_running_loop().call_later(left, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._expire()
        self._schedule()
