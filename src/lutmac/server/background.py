"""Responses that are written without a client that waits (``background``), until they are read or cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lutmac.server.errors import ApiError, as_api_error
from lutmac.server.logs import RequestRecord, log_request, logger
from lutmac.server.response_store import ResponseStore
from lutmac.server.schemas.responses import InputItem, Response

if TYPE_CHECKING:
    from lutmac.server.response_events import ResponseWriter


@dataclass
class _BackgroundJob:
    writer: ResponseWriter
    asked: Sequence[InputItem]
    task: asyncio.Task[None]


class BackgroundResponses:
    """The responses that are being written. For one event loop. Responses that have ended are in the store."""

    def __init__(self, store: ResponseStore) -> None:
        """store: where a response is kept after its end."""
        self._store = store
        self._jobs: dict[str, _BackgroundJob] = {}

    def start(
        self,
        writer: ResponseWriter,
        events: AsyncGenerator[bytes, None],
        asked: Sequence[InputItem],
        record: RequestRecord,
        held: ExitStack,
    ) -> None:
        """Runs a response to its end.

        asked: the conversation up to its beginning. record: of this run. held: what is let go of at its end.
        """
        id = writer.response.id
        task = asyncio.create_task(self._run(writer, events, asked, record))
        self._jobs[id] = _BackgroundJob(writer, asked, task)
        task.add_done_callback(lambda _: self._end(id, held))

    def _end(self, id: str, held: ExitStack) -> None:
        self._jobs.pop(id, None)
        held.close()

    def find(self, id: str) -> Response | None:
        """A response as far as it is written; None if it is not being written."""
        job = self._jobs.get(id)
        return None if job is None else job.writer.response

    async def cancel(self, id: str) -> Response:
        """Ends a response. Raises ApiError: 404 if there is none, 400 if it is not a background response."""
        job = self._jobs.get(id)
        if job is None:
            found = Response.model_validate_json(self._store.response(id))
            if not found.background:
                raise ApiError(
                    400, "only responses that were made with background can be cancelled", param="background"
                )
            return found
        job.task.cancel()
        with suppress(asyncio.CancelledError):
            await job.task
        response = job.writer.response
        if response.status == "in_progress":
            response.status = "cancelled"
            self._store.put(response, job.asked, len(job.asked))
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
