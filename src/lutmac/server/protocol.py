"""uvicorn's HTTP protocol with limits on a request's head, in seconds and in bytes; uvicorn has none."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lutmac.server.settings import Timeouts

MAX_HEAD_BYTES: Final = 64 << 10


class PatientProtocol(HttpToolsProtocol):
    """Ends a connection whose request's head is too long, or not complete in time."""

    head_seconds: ClassVar[float]
    _timer: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The first head is awaited."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """No head is awaited."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a head or a body."""
        if self._timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._timer is not None and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """The next head begins."""
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._forget()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._forget()
        self._timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._head_bytes = None, 0

    def _give_up(self) -> Any:
        self.transport.abort()


def patient_protocol(timeouts: Timeouts) -> type[PatientProtocol]:
    """The protocol with these limits; uvicorn makes the objects, so that they are the class's."""
    return type("PatientProtocol", (PatientProtocol,), {"head_seconds": timeouts.headers})
