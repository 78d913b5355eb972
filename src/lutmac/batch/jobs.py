"""Batches that a server runs: files of requests, answered by its own application while others are served."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, BinaryIO, Final
from uuid import uuid4

from lutmac.batch.files import FileStore, StoredFile
from lutmac.batch.local import answer_request
from lutmac.batch.output import Entry, refusal_entry
from lutmac.batch.requests import BatchRequest, Refusal, count_lines, read_requests
from lutmac.batch.schemas import Batch, BatchError, BatchErrors
from lutmac.server.errors import ApiError
from lutmac.server.exchange import Application
from lutmac.server.logs import logger

IN_FLIGHT: Final = 8  # requests of a batch at a time: as many as half of what runs, so that others find places
PATIENCE: Final = 1.0  # seconds until a request is tried again that found the queue full
MOST: Final = 1000  # batches that are remembered
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass
class _Outputs:
    """Where replies go. answers, errors: those with a status below 400, and the others."""

    answers: BinaryIO
    errors: BinaryIO

    def write(self, entry: Entry, batch: Batch) -> None:
        """Writes an entry, and counts it."""
        response = entry["response"]
        well = response is not None and response["status_code"] < 400
        file = self.answers if well else self.errors
        file.write(json.dumps(entry).encode() + b"\n")
        if well:
            batch.request_counts.completed += 1
        else:
            batch.request_counts.failed += 1


class BatchJobs:
    """Batches by their ids, the latest last. For one event loop."""

    def __init__(self, files: FileStore) -> None:
        """files: where requests come from and replies go."""
        self._files = files
        self._batches: dict[str, Batch] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, app: Application, batch: Batch, source: StoredFile, headers: Headers) -> None:
        """Begins a batch. headers: of each request, such as the key of whoever sent the batch."""
        self._batches[batch.id] = batch
        while len(self._batches) > MOST and (
            ended := next((id for id in self._batches if id not in self._tasks), None)
        ):
            del self._batches[ended]
        task = asyncio.create_task(self._run(app, batch, source, headers))
        self._tasks[batch.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(batch.id, None))

    def get(self, id: str) -> Batch:
        """A batch. Raises ApiError (404)."""
        found = self._batches.get(id)
        if found is None:
            raise ApiError(404, f"there is no batch {id[:80]!r}: batches end with the server", code="batch_not_found")
        return found

    def all(self) -> list[Batch]:
        """The batches, the latest first."""
        return list(reversed(self._batches.values()))

    async def cancel(self, id: str) -> Batch:
        """Ends a batch; what has been answered is kept. Raises ApiError: 404, and 400 where it has ended."""
        batch, task = self.get(id), self._tasks.get(id)
        if task is None:
            raise ApiError(400, f"the batch is {batch.status} already", code="batch_ended")
        batch.status, batch.cancelling_at = "cancelling", _now()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return batch

    async def _run(self, app: Application, batch: Batch, source: StoredFile, headers: Headers) -> None:
        answers, errors = self._files.new_path(), self._files.new_path()
        try:
            with ExitStack() as stack:
                outputs = _Outputs(stack.enter_context(answers.open("wb")), stack.enter_context(errors.open("wb")))
                batch.request_counts.total = count_lines(source.path)
                batch.status, batch.in_progress_at = "in_progress", _now()
                await self._answer_all(app, batch, source.path, headers, outputs)
            self._end(batch, answers, errors)
            batch.status, batch.completed_at = "completed", _now()
        except asyncio.CancelledError:
            self._end(batch, answers, errors)
            batch.status, batch.cancelled_at = "cancelled", _now()
            raise
        except Exception as error:
            logger.error("failure", exc_info=error, extra={"fields": {"batch": batch.id}})
            batch.errors = BatchErrors(data=[BatchError(code="internal_error", message="the server's log says why")])
            batch.status, batch.failed_at = "failed", _now()

    async def _answer_all(
        self, app: Application, batch: Batch, source: Path, headers: Headers, outputs: _Outputs
    ) -> None:
        running: set[asyncio.Task[Entry]] = set()
        try:
            for line in read_requests(source):
                if isinstance(line, Refusal) or line.url != batch.endpoint:
                    outputs.write(refusal_entry(_refused(line, batch.endpoint)), batch)
                    continue
                running.add(asyncio.create_task(_answer(app, line, headers)))
                if len(running) >= IN_FLIGHT:
                    running = await _take(running, outputs, batch)
            while running:
                running = await _take(running, outputs, batch)
            batch.status, batch.finalizing_at = "finalizing", _now()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _end(self, batch: Batch, answers: Path, errors: Path) -> None:
        """Takes what was written into the store; a file that holds nothing is no file."""
        if answers.stat().st_size:
            batch.output_file_id = self._files.add(answers, f"{batch.id}_output.jsonl", "batch_output").id
        if errors.stat().st_size:
            batch.error_file_id = self._files.add(errors, f"{batch.id}_error.jsonl", "batch_output").id


def new_batch(endpoint: str, source: StoredFile, window: str, metadata: dict[str, Any] | None) -> Batch:
    """A batch that has yet to begin."""
    return Batch(
        id=f"batch_{uuid4().hex}",
        endpoint=endpoint,
        input_file_id=source.id,
        completion_window=window,
        created_at=_now(),
        metadata=metadata,
    )


async def _take(running: set[asyncio.Task[Entry]], outputs: _Outputs, batch: Batch) -> set[asyncio.Task[Entry]]:
    """Waits for the first reply, and writes all that there are then. Returns the tasks that still run."""
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        outputs.write(task.result(), batch)
    return left


async def _answer(app: Application, request: BatchRequest, headers: Headers) -> Entry:
    while True:
        entry = await answer_request(app, request, headers)
        if entry["response"]["status_code"] != 429:
            return entry
        await asyncio.sleep(PATIENCE)


def _refused(line: BatchRequest | Refusal, endpoint: str) -> Refusal:
    if isinstance(line, Refusal):
        return line
    message = f"the url is {line.url!r}, the batch is for {endpoint!r}"
    return Refusal(line.id, line.custom_id, "mismatched_endpoint", message)


def _now() -> int:
    return int(time())
