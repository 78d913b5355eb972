"""Server-sent events: replies as they are written.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from lutmac.server.errors import ApiError, as_api_error
from lutmac.server.logs import RequestRecord, logger

DONE: Final = b"data: [DONE]\n\n"
COMMENT: Final = b": still here\n\n"
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def data_event(value: BaseModel) -> bytes:
    """An event without a name, as OpenAI's older endpoints send them."""
    return b"data: " + value.model_dump_json().encode() + b"\n\n"


def named_event(name: str, value: str) -> bytes:
    """An event with a name. value: JSON text."""
    return f"event: {name}\ndata: {value}\n\n".encode()


class EventStream(Response):
    """A response of events.

    The head is sent with the first event, so that a request that fails gets an error status. But it is sent at the
    latest after ``silence`` seconds, before proxies give up. During a silence, comments keep the connection alive.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        record: RequestRecord,
        *,
        failure: Callable[[ApiError], bytes],
        silence: float | None,
    ) -> None:
        """failure: makes the event for an error in the middle of a stream. silence: seconds between signs of life."""
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events
        self._record = record
        self._failure = failure
        self._silence = silence
        self._spoke = monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Sends the events. If the client disconnects, the work behind them ends."""
        first = asyncio.ensure_future(anext(self._events, None))
        try:
            await asyncio.wait({first}, timeout=self._silence)
            if first.done():
                first.result()  # raises an early failure: the status has not been sent yet
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            heart = asyncio.ensure_future(self._beat(send, self._silence)) if self._silence is not None else None
            try:
                await self._send_all(first, send)
            finally:
                if heart is not None:
                    heart.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            first.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await first
            await self._events.aclose()

    async def _send_all(self, first: asyncio.Future[bytes | None], send: Send) -> None:
        try:
            event = await first
            while event is not None:
                await send({"type": "http.response.body", "body": event, "more_body": True})
                self._spoke = monotonic()
                event = await anext(self._events, None)
        except Exception as error:
            said = as_api_error(error)
            self._record.error = said.code
            if said.status >= 500 and not isinstance(error, ApiError):
                logger.error("failure", exc_info=error, extra={"fields": {"request_id": self._record.request_id}})
            await send({"type": "http.response.body", "body": self._failure(said), "more_body": True})

    async def _beat(self, send: Send, silence: float) -> None:
        while True:
            quiet = monotonic() - self._spoke
            if quiet >= silence:
                await send({"type": "http.response.body", "body": COMMENT, "more_body": True})
                self._spoke, quiet = monotonic(), 0.0
            await asyncio.sleep(silence - quiet)


class LineStream(EventStream):
    """A response of JSON objects, one a line. The format has no comments, so nothing is sent during a silence."""

    media_type = "application/x-ndjson"

    def __init__(
        self, events: AsyncGenerator[bytes, None], record: RequestRecord, *, failure: Callable[[ApiError], bytes]
    ) -> None:
        """failure: makes the line for an error in the middle of a stream."""
        super().__init__(events, record, failure=failure, silence=None)
