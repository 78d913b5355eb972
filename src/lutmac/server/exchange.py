"""One request and its response, from the first byte to the line in the log: the outermost layer of the application.

It gives the request its id, checks its key, and reads its body within limits. It cancels the work if the client
disconnects or does not read. It turns every failure into a response in the shape that the client knows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote
from uuid import uuid4

from starlette.responses import JSONResponse

from lutmac.server.auth import ApiKeys, check_host, check_origin
from lutmac.server.body_room import BodyRoom, Held
from lutmac.server.clients import current_client, name_client
from lutmac.server.endpoints import Endpoints
from lutmac.server.errors import RETRY_SECONDS, ApiError, as_api_error, of_status
from lutmac.server.logs import RequestRecord, log_request, logger
from lutmac.server.memory import LARGE_BYTES, MemoryReturn
from lutmac.server.metrics import Metrics
from lutmac.server.preparation import Preparation, prepare_with
from lutmac.server.refusals import Refusals
from lutmac.server.request_body import check_encoding, decompressed, read_json, too_large
from lutmac.server.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# The page, whether the server lives, and what it offers: they hold nothing that a key protects.
_OPEN_PATHS: Final = re.compile(r"/|/static/.*|/health(/.*)?|/openapi\.json|/favicon\.ico")
SMALL_BODY: Final = 16 << 10  # bytes: read in less time than a thread takes to be woken
CLIENT_CLOSED_REQUEST: Final = 499  # what nginx logs where the client did not wait for the answer
FORM_PATHS: Final = frozenset({"/v1/files"})  # what is sent there is a form with a file in it
SCHEMA_HEADER: Final = b"x-schema-left-out"  # parts of the request's JSON schemas that are not checked
_RESPONSE_SECURITY: Final = [(b"x-content-type-options", b"nosniff")]


class Served(Protocol):
    """The models behind the endpoints. draining: whether the server is stopping and takes no new requests."""

    draining: bool

    @property
    def settings(self) -> Settings:
        """Limits, keys and timeouts."""

    @property
    def metrics(self) -> Metrics:
        """Where requests are counted."""

    @property
    def preparation(self) -> Preparation:
        """Threads for long work before a request has its place in the queue."""

    def close(self, drain_seconds: float) -> None:
        """Waits ``drain_seconds`` for what runs, then ends the rest. Blocks."""


class _ClientGoneError(Exception):
    """The client has closed the connection, or does not read the response."""


class Exchange:
    """ASGI middleware around the whole application."""

    def __init__(self, app: Application, backend: Served, endpoints: Endpoints) -> None:
        """endpoints: those of the application, which metrics tell apart."""
        self._app = app
        self._backend = backend
        self._settings = backend.settings
        self._endpoints = endpoints
        self._preparation = backend.preparation
        self._room = BodyRoom(backend.settings.limits.body_bytes)
        self._memory = MemoryReturn()
        self._refusals = Refusals()
        self._keys = ApiKeys(backend.settings.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request. Raises nothing but cancellation."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        path = self._endpoints.canonical(scope["path"])
        record = RequestRecord(_request_id(headers), scope["method"], path)
        held = ExitStack()
        scope.setdefault("state", {}).update(record=record, held=held)
        scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        if scope["method"] == "HEAD":  # as GET; whoever sends the answer leaves its body out
            scope["method"] = "GET"
        answer = _Answer(send, record, self._settings.timeouts.send)
        try:
            await self._respond(scope, headers, receive, answer)
        except _ClientGoneError:
            record.status, record.error = CLIENT_CLOSED_REQUEST, "client_gone"
        except Exception as error:
            await self._refuse(error, scope, record, answer)
            _forget_frames(error)
        finally:
            held.close()  # models may be unloaded again
            record.seconds = record.age
            log_request(record)
            self._backend.metrics.count(record, self._endpoints.find(record.path) or "other")

    async def _respond(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer) -> None:
        current_client.set(name_client(scope, None))
        key = self._admit(scope, headers)
        current_client.set(name_client(scope, key))
        with self._room.taken() as held:
            try:
                body = await self._read(headers, receive, held)
                if body and scope["method"] == "POST":
                    body = await self._decode(scope, headers, body, held)
                prepare_with(self._preparation, len(body))
                await self._work(scope, receive, body, answer)
            finally:
                if held.bytes > LARGE_BYTES:
                    self._memory.soon()

    async def _work(self, scope: Scope, receive: Receive, body: bytes, answer: _Answer) -> None:
        """Runs the application until it has answered or the client has disconnected."""
        work = asyncio.ensure_future(self._app(scope, _Replay(body), answer))
        watch = asyncio.ensure_future(_disconnection(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise _ClientGoneError
            work.result()
        finally:
            watch.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})  # until the sequences are stopped

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> bytes | None:
        """The API key of the request, if any. Raises ApiError if the request is not allowed."""
        key = None
        if not self._settings.api_keys:
            check_host(headers, self._settings.hosts)
        if not _OPEN_PATHS.fullmatch(scope["path"]) and scope["method"] != "OPTIONS":
            key = self._keys.check(headers)
        if self._backend.draining and not scope["path"].startswith("/health"):
            raise ApiError(503, "the server is about to end", retry_after=RETRY_SECONDS)
        method = scope["method"]
        allowed = self._endpoints.allowed(scope["path"], method)
        if method not in allowed | {"OPTIONS"}:
            status = HTTPStatus.METHOD_NOT_ALLOWED if allowed else HTTPStatus.NOT_FOUND
            raise of_status(status, scope["path"], method, allowed)
        if method == "POST":
            check_encoding(headers.get(b"content-encoding", b""))
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if scope["path"] in FORM_PATHS:
                check_origin(headers, self._settings.origins)
                if kind != b"multipart/form-data":
                    raise ApiError(415, "the body has to be a form: send Content-Type: multipart/form-data")
            elif kind != b"application/json" and (b"origin" in headers or kind == b"multipart/form-data"):
                # Forms of web pages, which browsers send without asking; programs that do not name a type are taken.
                raise ApiError(415, "the body has to be JSON: send Content-Type: application/json")
        return key

    async def _read(self, headers: dict[bytes, bytes], receive: Receive, held: Held) -> bytes:
        most, patience = self._settings.limits.body_bytes, self._settings.timeouts.body
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > most:
            raise too_large(most)
        body = bytearray()
        try:
            async with asyncio.timeout(patience):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGoneError
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large(most)
                    held.grow(len(body))
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {patience:g} seconds") from None

    async def _decode(self, scope: Scope, headers: dict[bytes, bytes], body: bytes, held: Held) -> bytes:
        """The body as JSON text; its value is in the scope's state. Raises ApiError."""
        encoding = headers.get(b"content-encoding", b"")
        if encoding:
            most = self._settings.limits.body_bytes
            body = await self._preparation.run(lambda: decompressed(body, encoding, most), most)
            held.grow(len(body))
        if body and scope["path"] not in FORM_PATHS:
            small = len(body) <= SMALL_BODY
            value = read_json(body) if small else await self._preparation.run(lambda: read_json(body), len(body))
            scope["state"]["json"] = value
            named = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
            scope["headers"] = [*named, (b"content-type", b"application/json")]  # also where the client did not say so
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"content-encoding"]
        return body

    async def _refuse(self, error: Exception, scope: Scope, record: RequestRecord, answer: _Answer) -> None:
        """Sends an error. After the head of a response has been sent, it can only close the connection."""
        said = as_api_error(error)
        if said.status >= 500 and not isinstance(error, ApiError):
            logger.error("failure", exc_info=error, extra={"fields": {"request_id": record.request_id}})
        record.error = said.code
        if answer.started:
            return
        headers = dict(said.headers)
        if said.status in (408, 413, 429):
            headers["Connection"] = "close"  # the rest of the body would be taken for the next request
        if said.status < 500 and (client := current_client.get()):  # nobody's are those of a batch
            await self._refusals.wait(client)
        response = JSONResponse(said.body(record.path, record.request_id), said.status, headers)
        with suppress(_ClientGoneError):
            await response(scope, _Replay(b""), answer)


class _Answer:
    """``send`` for the application: adds headers, records the status, and limits the wait for a slow client."""

    def __init__(self, send: Send, record: RequestRecord, patience: float) -> None:
        self.started = False
        self._send = send
        self._record = record
        self._patience = patience

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._record.status = message["status"]
            name = self._record.request_id.encode()
            said = [(b"x-request-id", name), (b"request-id", name)]  # OpenAI's name for it and Anthropic's
            if self._record.schema_left_out:
                said.append((SCHEMA_HEADER, ", ".join(self._record.schema_left_out).encode()))
            message["headers"] = [*message.get("headers", []), *said, *_RESPONSE_SECURITY]
        try:
            async with asyncio.timeout(self._patience):
                await self._send(message)
        except TimeoutError:
            raise _ClientGoneError from None


class _Replay:
    """``receive`` for the application: the body that was read, and then nothing.

    The application need not watch for the end of the connection: its task is cancelled.
    """

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def __call__(self) -> Message:
        if self._body is None:
            await asyncio.get_running_loop().create_future()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _forget_frames(error: BaseException | None) -> None:
    """Clears the frames of an error that was reported: they refer to the request and to the error itself."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The client's id if it is harmless, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else f"req_{uuid4().hex}"
