"""Where clients come in: what the server does around its endpoints happens here, the endpoints are on the replicas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic, perf_counter
from typing import Any, Final, cast

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from starlette.responses import JSONResponse, PlainTextResponse, Response

from lutmac.cluster.prefix import prefix_of
from lutmac.cluster.replica import RECORD
from lutmac.engine.running.stats import EngineStats
from lutmac.errors import EngineClosedError
from lutmac.server.chat import failure_event
from lutmac.server.clients import current_client
from lutmac.server.errors import RETRY_SECONDS, ApiError, as_api_error
from lutmac.server.exchange import Message, Receive, Scope, Send
from lutmac.server.in_process import Call
from lutmac.server.logs import RequestRecord, logger
from lutmac.server.metrics import Metrics, engine_metrics
from lutmac.server.preparation import Preparation
from lutmac.server.settings import Settings
from lutmac.server.streaming import named_event

PROBE_SECONDS: Final = 5.0  # for replicas to say how they are
ATTEMPTS: Final = 3  # replicas that may die under a request of which nothing has been said yet
_KEPT_BACK: Final = frozenset({b"authorization", b"x-api-key", b"host", b"content-length"})
_OWN_HEADERS: Final = frozenset({b"x-request-id", b"request-id", b"x-content-type-options"})


class ReplicaFigures(Collector):
    """The engines' figures as they were when the replicas were asked last."""

    def __init__(self) -> None:
        """Nobody has been asked yet."""
        self.found: dict[tuple[str, ...], EngineStats] = {}

    def collect(self) -> Iterator[Metric]:
        """The figures, told apart by replica."""
        return engine_metrics(self.found, ("replica",))


@dataclass
class Front:
    """The replicas as the server sees them. draining: whether nothing new is taken any more."""

    handle: DeploymentHandle[Any]
    settings: Settings
    figures: ReplicaFigures = field(default_factory=ReplicaFigures)
    draining: bool = False
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        """Makes the metrics."""
        self.metrics = Metrics(self.figures)
        self._changed = Condition()
        self._running: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}

    def begin(self, patience: asyncio.Timeout) -> None:
        """A request has begun. patience: what ends it."""
        with self._changed:
            self._running[patience] = asyncio.get_running_loop()

    def end(self, patience: asyncio.Timeout) -> None:
        """It is done."""
        with self._changed:
            del self._running[patience]
            self._changed.notify_all()

    def close(self, drain_seconds: float) -> None:
        """Waits so long for what runs, then ends the rest. Blocks."""
        deadline = monotonic() + drain_seconds
        with self._changed:
            while self._running and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            for patience, loop in self._running.items():
                with suppress(RuntimeError):  # it came to its end just now
                    loop.call_soon_threadsafe(patience.reschedule, loop.time())


class Gateway:
    """An ASGI application that has replicas answer.

    A request whose replica dies before a word was said goes to another one. After that a stream ends with an event
    that says so.
    """

    def __init__(self, front: Front) -> None:
        """front: shared with the server around it."""
        self._front = front
        self._answers = front.handle.options(stream=True).answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request. Raises ApiError, or what the replica's end of the call raised."""
        own = {"/metrics": self._metrics, "/health": self._ready, "/health/ready": self._ready, "/health/live": _live}
        if scope["method"] in ("GET", "HEAD") and scope["path"] in own:
            response = await own[scope["path"]]()
            await response(scope, receive, send)
            return
        body = (await receive())["body"]
        client = current_client.get()
        call = Call(scope["method"], scope["path"], body, scope["query_string"], _headers(scope), client)
        exchange = _Exchange(scope["path"], scope["state"]["record"], self._front.metrics, send)
        try:
            async with asyncio.timeout(None) as patience:
                self._front.begin(patience)
                try:
                    await self._forward(call, exchange)
                finally:
                    self._front.end(patience)
        except TimeoutError:  # ends only when the server stops
            await exchange.fail(as_api_error(EngineClosedError("the server is about to end")))

    async def _forward(self, call: Call, exchange: _Exchange) -> None:
        prefix = prefix_of(call.body)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with aclosing(self._ask(call, prefix)) as answer:
                    async for several in answer:
                        await exchange.pass_on(several)
                await exchange.finish()
                return
            except BackPressureError as error:
                raise ApiError(429, "too many requests wait already", retry_after=RETRY_SECONDS) from error
            except (RayError, RayServeException) as error:
                logger.warning("replica_lost", extra={"fields": {"attempt": attempt, "reason": type(error).__name__}})
                died = isinstance(error, RayActorError)
                if exchange.started or not died or attempt == ATTEMPTS:
                    lost = ApiError(
                        503, "the replica that answered this is gone", code="replica_lost", retry_after=RETRY_SECONDS
                    )
                    await exchange.fail(lost)
                    return

    async def _ask(self, call: Call, prefix: tuple[int, ...]) -> AsyncGenerator[list[Message], None]:
        response = cast("DeploymentResponseGenerator[list[Message]]", self._answers.remote(call, prefix=prefix))
        try:
            async for several in response:
                yield several
        finally:
            response.cancel()  # type: ignore[no-untyped-call] # of no effect on an answer that is complete

    async def _metrics(self) -> Response:
        with suppress(TimeoutError):
            await self._ask_all()
        return PlainTextResponse(self._front.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _ready(self) -> Response:
        """200 while new requests are taken and a replica is there for them."""
        with suppress(TimeoutError):
            if not self._front.draining and await self._ask_all():
                return JSONResponse({"status": "ok"})
        why = "the server is about to end" if self._front.draining else "no replica answers"
        raise ApiError(503, why, retry_after=RETRY_SECONDS)

    async def _ask_all(self) -> bool:
        """Has all replicas give their figures; whether any did."""
        asked = self._front.handle.broadcast("stats")
        found = await asked.results_async(timeout_s=PROBE_SECONDS, return_exceptions=True)
        self._front.figures.found = {(said[0],): said[1] for said in found if not isinstance(said, BaseException)}
        return bool(self._front.figures.found)


class _Exchange:
    """An answer on its way from a replica to the client."""

    def __init__(self, path: str, record: RequestRecord, metrics: Metrics, send: Send) -> None:
        self.started = False
        self._path = path
        self._record = record
        self._metrics = metrics
        self._send = send
        self._streams = False
        self._last: float | None = None
        self._end: list[Message] = []

    async def pass_on(self, several: list[Message]) -> None:
        """Sends what came, but keeps the end: a client that has it goes, and there is still something to note."""
        if several[-1]["type"] == "http.response.body" and not several[-1].get("more_body"):
            self._end = several
        else:
            await self._pass_on(several)

    async def finish(self) -> None:
        """Sends the end."""
        await self._pass_on(self._end)

    async def _pass_on(self, several: list[Message]) -> None:
        for message in several:
            if message["type"] == RECORD:
                self._note(message)
                continue
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] not in _OWN_HEADERS]
                message = {**message, "headers": headers}  # noqa: PLW2901
                self._streams = any(value.startswith(b"text/event-stream") for _, value in headers)
                self.started = True
            await self._send(message)
        if self._streams:
            now = perf_counter()
            if self._last is not None:
                self._metrics.note_between_tokens(now - self._last, None)
            self._last = now

    async def fail(self, error: ApiError) -> None:
        """Says what went wrong, if a stream has begun in its way. Raises the error where nothing has been said."""
        if not self.started:
            raise error
        self._record.error = error.code
        if not self._streams:
            raise error  # the connection is closed before the length that was promised
        for body in (_failure(self._path, error), b""):
            await self._send({"type": "http.response.body", "body": body, "more_body": bool(body)})

    def _note(self, found: Message) -> None:
        record = self._record
        for name in ("model", "prompt_tokens", "cached_tokens", "completion_tokens", "finish_reason", "error"):
            if name in found:
                setattr(record, name, found[name])
        if "first_token_seconds" in found:  # by the replica's clock, to which the way there and back is added
            record.first_token_seconds = found["first_token_seconds"] + max(0.0, record.age - found["seconds"])
            self._metrics.note_first_token(record.first_token_seconds, record.model)


async def _live() -> Response:
    return JSONResponse({"status": "ok"})


def _headers(scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
    """What the replica gets of the head: no keys, and the id that the request has here."""
    record: RequestRecord = scope["state"]["record"]
    kept = [pair for pair in scope["headers"] if pair[0] not in _KEPT_BACK | {b"x-request-id"}]
    return (*kept, (b"host", b"localhost"), (b"x-request-id", record.request_id.encode()))


def _failure(path: str, error: ApiError) -> bytes:
    """The event by which a stream of that endpoint says that it failed."""
    if path.startswith("/v1/messages"):
        return named_event("error", json.dumps(error.anthropic(None)))
    if path.startswith("/v1/responses"):
        said: dict[str, Any] = {"type": "error", "code": error.code, "message": error.message, "param": error.param}
        return named_event("error", json.dumps(said))
    return failure_event(error)
