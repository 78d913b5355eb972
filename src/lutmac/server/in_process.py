"""Calls the application within the process, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from lutmac.server.exchange import Application, Message, Scope

_AHEAD: Final = 64  # messages that may wait for a reader


@dataclass(frozen=True)
class Call:
    """A request. path: decoded, as in ASGI's scope. headers: as in ASGI's scope, names in lower case.

    client: any name for the client, in place of an address.
    """

    method: str
    path: str
    body: bytes = b""
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    client: str = ""

    def scope(self) -> Scope:
        """The ASGI scope of the request."""
        length = (b"content-length", str(len(self.body)).encode())
        return {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": self.method, "scheme": "http", "path": self.path, "raw_path": self.path.encode(),
            "query_string": self.query, "root_path": "", "client": (self.client, 0), "server": None,
            "headers": [*(pair for pair in self.headers if pair[0] != b"content-length"), length],
        }  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def answer(app: Application, call: Call) -> Answer:
    """The complete response of the application."""
    status, headers, body = 0, {}, bytearray()
    async with aclosing(messages(app, call.scope(), call.body)) as sent:
        async for several in sent:
            for message in several:
                if message["type"] == "http.response.start":
                    status, headers = message["status"], _decoded(message["headers"])
                else:
                    body += message.get("body", b"")
    return Answer(status, headers, bytes(body))


async def messages(app: Application, scope: Scope, body: bytes) -> AsyncGenerator[list[Message], None]:
    """The messages that the application sends, in lists of all that there are at the time.

    Closing the generator is like a client that disconnects.
    """
    queue: asyncio.Queue[Message | None] = asyncio.Queue(_AHEAD)
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not unread:
            await asyncio.get_running_loop().create_future()
        return unread.pop()

    async def run() -> None:
        try:
            await app(scope, receive, queue.put)
        finally:
            await queue.put(None)

    work = asyncio.create_task(run())
    try:
        while (message := await queue.get()) is not None:
            found = [message]
            while not queue.empty() and (message := queue.get_nowait()) is not None:
                found.append(message)
            yield found
            if message is None:
                break
        await work
    finally:
        if not work.done():
            work.cancel()
            while not work.done():  # it may have more to say on its way out, and nobody listens
                _drop(queue)
                await asyncio.wait({work}, timeout=0.1)


def _drop(queue: asyncio.Queue[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
