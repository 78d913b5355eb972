"""The server as a process: sockets, slow clients, and a stop that lets replies finish."""

from __future__ import annotations

import asyncio
import signal
import socket
from threading import current_thread, main_thread
from typing import Final

import uvicorn
from fastapi import FastAPI

from lutmac import _native
from lutmac.errors import InvalidRequestError
from lutmac.server.exchange import Served
from lutmac.server.logs import logger
from lutmac.server.memory import few_heaps, settle, unsettle
from lutmac.server.protocol import patient_protocol
from lutmac.server.settings import Settings

LONGEST_DRAIN: Final = 1e9
TICK_SECONDS: Final = 0.1
BACKLOG: Final = 1024
LAST_WORDS_SECONDS: Final = 5  # after draining, for ended streams to say so
LAST_RESORT_SECONDS: Final = 5  # after that the process ends, even if something is stuck


class Server(uvicorn.Server):
    """uvicorn, but on SIGTERM or SIGINT it refuses new requests and lets running replies end within the drain time."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        """app: what create_app made."""
        self._backend: Served = app.state.backend
        self._drain = settings.timeouts.drain
        super().__init__(
            uvicorn.Config(
                app,
                http=patient_protocol(settings.timeouts),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=settings.timeouts.keep_alive,
                timeout_graceful_shutdown=LAST_WORDS_SECONDS,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen. From now on SIGTERM and SIGINT end the process even if the event loop is stuck."""
        await super().startup(sockets)
        if current_thread() is main_thread():
            patience = int(min(self._drain, LONGEST_DRAIN)) + LAST_WORDS_SECONDS + LAST_RESORT_SECONDS
            _native.end_after_signal([signal.SIGTERM, signal.SIGINT], patience)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops: closes idle connections at once, and waits up to the drain time for running replies.

        Meanwhile the server still accepts connections and answers 503. A second SIGINT ends it at once.
        """
        self._backend.draining = True
        logger.info("stopping", extra={"fields": {"drain_seconds": self._drain}})
        closing = asyncio.create_task(asyncio.to_thread(self._backend.close, self._drain))
        while not closing.done() and not self.force_exit:
            await asyncio.wait({closing}, timeout=TICK_SECONDS)
        if self.force_exit:
            await asyncio.to_thread(self._backend.close, 0.0)
        await super().shutdown(sockets)
        await closing
        logger.info("stopped")


def listen(settings: Settings) -> socket.socket:
    """A socket on the settings' address. Raises InvalidRequestError if it cannot be opened."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections. Event loops set it as well, but only where the socket says that it is of TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # the kernel drops clients that stay away or never read; inherited
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * settings.timeouts.send))
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidRequestError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The address for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, settings: Settings, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; the latter raises KeyboardInterrupt afterwards."""
    # uvicorn raises the signal again when all is done; for SIGTERM that would look like a death.
    signal.signal(signal.SIGTERM, lambda *_: None)
    few_heaps()
    settle()
    try:
        Server(app, settings).run(sockets=[listener])
    finally:
        unsettle()
        signal.alarm(0)  # it came to its end in time
