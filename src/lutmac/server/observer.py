"""Records chunks of a request for the log and the metrics."""

from __future__ import annotations

from time import perf_counter

from lutmac.engine.sampling.results import Chunk
from lutmac.server.logs import RequestRecord
from lutmac.server.metrics import Metrics


class ChunkObserver:
    """Reads every chunk of a request's replies, and changes none."""

    def __init__(self, metrics: Metrics, record: RequestRecord, replies: int) -> None:
        """replies: how many the request has."""
        self._metrics = metrics
        self._record = record
        self._last: list[float | None] = [None] * replies  # when a chunk came
        self._made = [0] * replies  # tokens
        record.completion_tokens = record.cached_tokens = 0

    def see(self, place: int, chunk: Chunk) -> None:
        """Records a chunk and the time when it came."""
        record, whole = self._record, chunk.completion
        if chunk.progress is not None:
            record.note_progress(chunk.progress.read, chunk.progress.total, chunk.progress.cached)
            return
        now, last = perf_counter(), self._last[place]
        self._last[place] = now
        if last is not None:
            self._metrics.note_between_tokens(now - last, record.model)
        elif record.first_token_seconds is None:
            record.first_token_seconds = record.age
            self._metrics.note_first_token(record.first_token_seconds, record.model)
        if whole is not None:
            record.cached_tokens = (record.cached_tokens or 0) + whole.cached_tokens
            record.finish_reason = whole.finish_reason
        self._made[place] = self._made[place] + len(chunk.token_ids) if whole is None else len(whole.token_ids)
        record.completion_tokens = sum(self._made)  # as they come: the client may go
