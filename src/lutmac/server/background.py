"""Responses that are written while nobody waits for them (``background``), until they are asked for or cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lutmac.server.errors import ApiError, as_api_error
from lutmac.server.logs import RequestRecord, log_request, logger
from lutmac.server.response_store import ResponseStore
from lutmac.server.schemas.responses import InputItem, Response

if TYPE_CHECKING:
    from lutmac.server.response_events import ResponseWriter


@dataclass
class _Run:
    writer: ResponseWriter
    asked: Sequence[InputItem]
    task: asyncio.Task[None]


class BackgroundResponses:
    """Those that run. For one event loop; what has ended is in the store."""

    def __init__(self, store: ResponseStore) -> None:
        """store: where they are kept from their end on."""
        self._store = store
        self._runs: dict[str, _Run] = {}

    def start(
        self,
        writer: ResponseWriter,
        events: AsyncGenerator[bytes, None],
        asked: Sequence[InputItem],
        record: RequestRecord,
    ) -> None:
        """Runs a response to its end. asked: the conversation up to its beginning. record: of this run."""
        id = writer.response.id
        task = asyncio.create_task(self._run(writer, events, asked, record))
        self._runs[id] = _Run(writer, asked, task)
        task.add_done_callback(lambda _: self._runs.pop(id, None))

    def find(self, id: str) -> Response | None:
        """How far a response has come; None where it does not run."""
        run = self._runs.get(id)
        return None if run is None else run.writer.response

    async def cancel(self, id: str) -> Response:
        """Ends a response. Raises ApiError: 404 where there is none, 400 where it was not run in the background."""
        run = self._runs.get(id)
        if run is None:
            found = Response.model_validate_json(self._store.response(id))
            if not found.background:
                raise ApiError(
                    400, "only responses that were made with background can be cancelled", param="background"
                )
            return found
        run.task.cancel()
        with suppress(asyncio.CancelledError):
            await run.task
        response = run.writer.response
        if response.status == "in_progress":
            response.status = "cancelled"
            self._store.put(response, run.asked, len(run.asked))
        return response

    async def _run(
        self,
        writer: ResponseWriter,
        events: AsyncGenerator[bytes, None],
        asked: Sequence[InputItem],
        record: RequestRecord,
    ) -> None:
        try:
            async with aclosing(events):
                async for _ in events:
                    pass
        except Exception as error:
            said = as_api_error(error)
            record.error = said.code
            if said.status >= 500 and not isinstance(error, ApiError):
                logger.error("failure", exc_info=error, extra={"fields": {"request_id": record.request_id}})
            writer.failure(said)
            self._store.put(writer.response, asked, len(asked))
        finally:
            record.seconds = record.age
            log_request(record)
