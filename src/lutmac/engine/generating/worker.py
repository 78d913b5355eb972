"""The thread that runs an engine for asyncio callers."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from collections.abc import Sequence as TokenSequence
from functools import partial
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.embedding.embedding import EmbeddingJob, TextBatch
from lutmac.engine.generating.generate import GenerationParams, check_prompt, new_sequence
from lutmac.engine.generating.sequence_text import SequenceText
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.share import Share
from lutmac.engine.running.stats import EngineStats
from lutmac.engine.sampling.results import Chunk
from lutmac.errors import EngineClosedError, QueueFullError

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

__all__ = ["ChunkStream", "EngineStats", "Worker"]

DEFAULT_MAX_WAITING = 256
OTHERS_SHARE = 8  # one in 8 places is kept for clients other than the one with the most
SWITCH_SECONDS = 0.0005  # after which another thread may have the interpreter; Python's default is 0.005


RunSlow = Callable[[Callable[[], Sequence], int], Awaitable[Sequence]]


class Worker:
    """Runs the steps of an engine on a thread of its own while there are sequences, and sleeps otherwise.

    max_waiting: how many replies and embeddings may wait beyond those that run. run_slow: awaits a slow function on
    another thread, here one that makes a sequence with a grammar of so many bytes. Both may be set at any time.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, max_waiting: int = DEFAULT_MAX_WAITING) -> None:
        """The thread starts with the first stream."""
        self.max_waiting = max_waiting
        self.run_slow: RunSlow = _on_a_thread
        self._engine = engine
        self._tokenizer = tokenizer
        self._changed = Condition()
        self._places: Counter[str] = Counter()  # of each client: streams and embeddings, whether or not they have begun
        self._listeners: set[_Listener] = set()
        self._closing = False  # nothing new is taken
        self._closed = False  # nor does anything go on
        self._thread: Thread | None = None

    @property
    def max_places(self) -> int:
        """How many replies and embeddings of one client may run and wait; the rest of the queue is for others."""
        return self._all_places - self.max_waiting // OTHERS_SHARE

    @property
    def _all_places(self) -> int:
        return self._engine.max_sequences + self.max_waiting

    def stream(
        self,
        prompt_ids: TokenSequence[int],
        params: GenerationParams,
        share: Share | None = None,
        *,
        tells_progress: bool = False,
    ) -> ChunkStream:
        """The reply to a prompt, for ``async for``. It takes its place in the queue at once.

        share: of the request, if it has several replies. tells_progress: whether chunks say how far the prompt has been
        read. Call ``aclose`` to stop early: the sequence ends within a step. Raises QueueFullError, EngineClosedError,
        ContextOverflowError; a mistake in a grammar is raised by the first chunk.
        """
        prompt = list(prompt_ids)
        check_prompt(self._engine, prompt, params)
        share = share or Share()
        self._take_place(share.client)
        return ChunkStream(self, prompt, params, share, tells_progress=tells_progress)

    async def embed(self, batch: TextBatch, client: str = "") -> NDArray[np.float64]:
        """[n, hidden size * pooling modes]: what ``embedding.embed`` returns, sharing steps with everything else.

        The texts take one place in the queue. client: see `Share`. Cancelling stops them within a step. Raises
        QueueFullError, EngineClosedError, ContextOverflowError.
        """
        job = EmbeddingJob(self._engine, batch, Share(client))
        listeners: deque[_Listener] = deque()
        self._take_place(client)
        try:
            while not job.done:
                listeners.extend(self.listen(sequence) for sequence in job.due())
                await listeners[0].news.wait()
                if job.oldest.error is not None:
                    raise job.oldest.error
                job.take()
                listeners.popleft()
        finally:
            self.release(client, *listeners)
        return job.vectors

    def _take_place(self, client: str) -> None:
        with self._changed:
            if self._closing:
                raise EngineClosedError("the engine is shutting down")
            for places, limit in ((self._places[client], self.max_places), (self._places.total(), self._all_places)):
                if places >= limit:
                    raise QueueFullError(f"{places} requests are running or waiting already, the limit is {limit}")
            self._places[client] += 1

    def stats(self) -> EngineStats:
        """Figures of the engine. May be called from any thread, and does not wait."""
        return self._engine.stats()

    def close(self, drain_seconds: float = 0.0) -> None:
        """Refuses new work, waits ``drain_seconds`` for what runs, then ends the rest with EngineClosedError.

        Blocks: from asyncio, call it on a thread, since streams need the event loop to end.
        """
        deadline = monotonic() + drain_seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._places.total() and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            self._closed = True
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            self._engine.fail(listener.sequence, EngineClosedError("the engine is shutting down"))
        if self._thread is not None:
            self._thread.join()

    def prepare(self, prompt: list[int], params: GenerationParams) -> Sequence:
        """A sequence for the prompt. Slow if it has a grammar."""
        return new_sequence(self._engine, self._tokenizer, prompt, params)

    def listen(self, sequence: Sequence, *, to_progress: bool = False) -> _Listener:
        """Submits a sequence. The listener's event is set on the running loop whenever the sequence has changed.

        to_progress: whether progress in reading the prompt counts as a change.
        """
        listener = _Listener(sequence, to_progress=to_progress)
        with self._changed:
            if self._closed:
                raise EngineClosedError("the engine is shutting down")
            self._engine.submit(sequence)
            self._listeners.add(listener)
            if self._thread is None:
                self._engine.expects_company = True
                self._thread = Thread(target=self._run, name="lutmac-engine", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return listener

    def release(self, client: str, *listeners: _Listener) -> None:
        """Gives a place back, and stops its sequences if they are still running."""
        with self._changed:
            self._places[client] -= 1
            if not self._places[client]:
                del self._places[client]
            for listener in listeners:
                self._engine.stop(listener.sequence)
                self._listeners.discard(listener)
            self._changed.notify_all()

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self._tokenizer

    def _run(self) -> None:
        # A step ends in C++ and waits for the interpreter: a busy event loop would keep it for as long as a small
        # model's step takes.
        sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))
        while True:
            with self._changed:
                while not self._listeners and not self._engine.has_requests and not self._closed:
                    self._changed.wait()
                if not self._listeners and self._closed:
                    return
            try:
                self._engine.step_or_wait()
            except Exception as error:  # the callers get the error; the thread goes on
                for listener in self._snapshot():
                    self._engine.fail(listener.sequence, error)
            self._tell()

    def _snapshot(self) -> list[_Listener]:
        with self._changed:
            return list(self._listeners)

    def _tell(self) -> None:
        """Wakes the listeners whose sequences have changed, with one call for each event loop."""
        moved: dict[asyncio.AbstractEventLoop, list[_Listener]] = {}
        for listener in self._snapshot():
            if listener.has_news():
                moved.setdefault(listener.loop, []).append(listener)
        for loop, listeners in moved.items():
            try:
                loop.call_soon_threadsafe(_wake, listeners)
            except RuntimeError:  # the loop is closed: these have no reader
                for listener in listeners:
                    self._engine.stop(listener.sequence)
        with self._changed:
            self._listeners = {listener for listener in self._listeners if not listener.told_all}


class _Listener:
    """A sequence, and the event that an event loop waits for."""

    def __init__(self, sequence: Sequence, *, to_progress: bool) -> None:
        self.sequence = sequence
        self._to_progress = to_progress
        self.loop = asyncio.get_running_loop()
        self.news = asyncio.Event()
        self.told_all = False
        self._told = self._state()

    def has_news(self) -> bool:
        """Whether the sequence has changed since the last call."""
        finished, state = self.sequence.finished, self._state()
        if state == self._told and not finished:
            return False
        self._told, self.told_all = state, finished
        return True

    def _state(self) -> tuple[int, int]:
        """The number of tokens, and how much of the prompt has been read if that counts as a change."""
        read = min(self.sequence.computed, self.sequence.prompt_length) if self._to_progress else 0
        return self.sequence.length, read


async def _on_a_thread(function: Callable[[], Sequence], _size: int) -> Sequence:
    return await asyncio.to_thread(function)


def _wake(listeners: list[_Listener]) -> None:
    for listener in listeners:
        listener.news.set()


class ChunkStream(AsyncIterator[Chunk]):
    """The chunks of a reply as they come; ``Worker.stream`` makes one."""

    def __init__(
        self, worker: Worker, prompt: list[int], params: GenerationParams, share: Share, *, tells_progress: bool
    ) -> None:
        """Nothing runs until the first chunk is asked for."""
        self._worker: Worker | None = worker
        self._prompt = prompt
        self._params = params
        self._share = share
        self._tells_progress = tells_progress
        self._listener: _Listener | None = None
        self._text: SequenceText | None = None
        self._ready: deque[Chunk] = deque()

    async def __anext__(self) -> Chunk:
        """The next chunk. Raises what made the sequence fail."""
        try:
            while not self._ready:
                if self._worker is None or (self._text is not None and self._text.done):
                    raise StopAsyncIteration
                await self._advance(self._worker)
        except BaseException:
            self._end()
            raise
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Stops the sequence within a step, if it still runs."""
        self._end()
        self._ready.clear()

    async def _advance(self, worker: Worker) -> None:
        if self._text is None or self._listener is None:
            grammar = self._params.grammar
            sequence = (
                worker.prepare(self._prompt, self._params)
                if grammar is None
                else await worker.run_slow(partial(worker.prepare, self._prompt, self._params), len(grammar.text))
            )
            sequence.share = self._share
            params = self._params
            self._text = SequenceText(worker.tokenizer, sequence, params.stop, params.min_tokens, params.shown_tokens)
            self._listener = worker.listen(sequence, to_progress=self._tells_progress)
        await self._listener.news.wait()
        self._listener.news.clear()
        if self._listener.sequence.error is not None:
            raise self._listener.sequence.error
        if self._tells_progress and (progress := self._text.reading()) is not None:
            self._ready.append(Chunk("", progress=progress))
        self._ready.extend(self._text.ready())
        if self._text.done:
            self._end()

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.release(self._share.client, *([self._listener] if self._listener is not None else []))

    def __del__(self) -> None:
        """A stream that is dropped is closed."""
        self._end()
