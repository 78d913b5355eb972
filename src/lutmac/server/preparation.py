"""Work before a request has its place in the queue: its body, its template, its tokens, its grammar.

The work runs on threads of its own, and clients take turns. Long jobs run one at a time, and the thread rests after
each for as long as the job took. On Linux that thread has a low priority, so that steps of the engine, which want all
cores, go first. So long jobs, of any number of clients, take half a core at most, and short jobs do
not wait for them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread, get_native_id
from time import monotonic, sleep
from typing import Any, Final, ParamSpec, TypeVar

from lutmac.server.clients import current_client
from lutmac.server.errors import RETRY_SECONDS, ApiError

P = ParamSpec("P")
T = TypeVar("T")

SHORT_BYTES: Final = 64 << 10  # of text: some milliseconds
SHORT_THREADS: Final = 2
LONG_NICENESS: Final = 10  # of the thread with the long jobs, where Linux has niceness by thread
MOST_SHORT_WAITING: Final = 256  # jobs of one client
MOST_LONG_WAITING: Final = 16
LONGEST_REST: Final = 2.0  # seconds
IDLE_SECONDS: Final = 10.0  # after which a thread ends


class Preparation:
    """Runs functions on threads; clients take turns."""

    def __init__(self) -> None:
        """Threads start with the first job and end when there has been none for a while."""
        self._short = _Lane("lutmac-short", SHORT_THREADS, MOST_SHORT_WAITING, rests=False)
        self._long = _Lane("lutmac-long", 1, MOST_LONG_WAITING, rests=True)

    async def run(self, function: Callable[[], T], size: int) -> T:
        """Runs a function and returns its result. size: bytes of text that it reads, or an equal cost.

        The job counts for the client of the running task. Raises ApiError (429) if that client has too many jobs
        waiting. Cancelling drops a job that has not begun.
        """
        lane = self._short if size <= SHORT_BYTES else self._long
        job = _Job(function, asyncio.get_running_loop())
        lane.add(current_client.get(), job)
        try:
            found: T = await job.future
            return found
        finally:
            del job  # an error's traceback would hold what holds the error


_current: ContextVar[tuple[Preparation, int] | None] = ContextVar("_current_preparation", default=None)


def prepare_with(preparation: Preparation, size: int) -> None:
    """Makes `in_thread` use these threads, in the running task and its own tasks. size: of the request's body."""
    _current.set((preparation, size))


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function on another thread, so that streams go on meanwhile. Its cost is taken from the body's size."""
    current = _current.get()
    if current is None:
        return await asyncio.to_thread(function, *args, **kwargs)
    preparation, size = current
    return await preparation.run(partial(function, *args, **kwargs), size)


@dataclass
class _Job:
    """A function, and the future of its result."""

    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.future = self.loop.create_future()

    def run(self) -> None:
        """Calls the function, unless its result is no longer wanted."""
        if self.future.cancelled():
            return
        result, error = None, None
        try:
            result = self.function()
        except Exception as failure:
            error = failure
        except BaseException as failure:  # a panic of a library's: the thread has to live on
            error = RuntimeError(f"{type(failure).__name__}: {failure}")
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: Exception | None) -> None:
        if self.future.cancelled():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _Lane:
    """Threads that run the jobs of clients, one job of each client in turn."""

    def __init__(self, name: str, threads: int, most_waiting: int, *, rests: bool) -> None:
        """most_waiting: jobs of one client. rests: whether a thread gives way: its priority is low, and it pauses after
        each job for as long as the job took.
        """
        self._name = name
        self._most_threads = threads
        self._most_waiting = most_waiting
        self._rests = rests
        self._changed = Condition()
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()  # clients, whoever is next first
        self._threads = 0
        self._idle = 0

    def add(self, client: str, job: _Job) -> None:
        """Queues a job. Raises ApiError (429)."""
        with self._changed:
            jobs = self._waiting.setdefault(client, deque())
            while jobs and jobs[0].future.cancelled():
                jobs.popleft()
            if len(jobs) >= self._most_waiting:
                raise ApiError(429, "too many of your requests wait to be read already", retry_after=RETRY_SECONDS)
            jobs.append(job)
            if self._idle == 0 and self._threads < self._most_threads:
                self._threads += 1
                Thread(target=self._work, name=self._name, daemon=True).start()
            self._changed.notify()

    def _work(self) -> None:
        if self._rests and sys.platform == "linux":
            with suppress(OSError):  # a sandbox may forbid it
                os.setpriority(os.PRIO_PROCESS, get_native_id(), LONG_NICENESS)
        while (job := self._next()) is not None:
            began = monotonic()
            job.run()
            del job  # and with it all that its function holds
            if self._rests:
                sleep(min(monotonic() - began, LONGEST_REST))

    def _next(self) -> _Job | None:
        """The next job; None if the thread is to end."""
        with self._changed:
            self._idle += 1
            came = self._changed.wait_for(lambda: bool(self._waiting), IDLE_SECONDS)
            self._idle -= 1
            if not came:
                self._threads -= 1
                return None
            client, jobs = next(iter(self._waiting.items()))
            job = jobs.popleft()
            del self._waiting[client]
            if jobs:
                self._waiting[client] = jobs  # behind all others
            return job
