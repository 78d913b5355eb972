"""A batch answered in this process, by the application that a server would run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from lutmac.batch.output import Entry, response_entry
from lutmac.batch.requests import BatchRequest
from lutmac.engine.model import Model
from lutmac.server.app import create_app
from lutmac.server.exchange import Application
from lutmac.server.in_process import Call, answer
from lutmac.server.settings import Limits, Settings

IN_FLIGHT: Final = 32  # twice what the engine runs at a time, so that it never waits for a request
_HEADERS: Final = ((b"content-type", b"application/json"), (b"host", b"localhost"))


class LocalAnswerer:
    """Answers requests with a model; as many as the engine runs at a time, all sharing its steps."""

    def __init__(self, model: Model, names: tuple[str, ...]) -> None:
        """names: what requests may call the model."""
        self._app = batch_app(model, names)

    def __call__(self, requests: Iterator[BatchRequest]) -> Iterator[list[Entry]]:
        """Entries in the order in which replies end; takes requests only as it needs them."""
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            running: set[asyncio.Task[Entry]] = set()
            while True:
                while len(running) < IN_FLIGHT and (request := next(requests, None)) is not None:
                    running.add(loop.create_task(answer_request(self._app, request)))
                if not running:
                    return
                done, running = runner.run(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                yield [task.result() for task in done]


def batch_app(model: Model, names: tuple[str, ...]) -> Application:
    """The server's application with a queue that takes whatever a batch brings."""
    limits = replace(Limits(), queue=1 << 30, stored_bytes=0)
    return create_app(model, Settings(names=names, limits=limits))


async def answer_request(
    app: Application, request: BatchRequest, headers: tuple[tuple[bytes, bytes], ...] = _HEADERS
) -> Entry:
    """The entry of one request."""
    body = json.dumps(request.body).encode()
    found = await answer(app, Call("POST", request.url, body, headers=headers))
    return response_entry(
        request.id, request.custom_id, found.status, found.headers["x-request-id"], json.loads(found.body)
    )
