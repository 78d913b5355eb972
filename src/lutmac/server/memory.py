"""Returns the memory of large requests to the system: the C library keeps freed memory, for each thread."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import Any, Final

LARGE_BYTES: Final = 256 << 10  # of a body: below, what it takes is as good as nothing
SETTLE_SECONDS: Final = 1.0  # after a large request, for others to end: once for all of them
MOST_HEAPS: Final = 2
_M_ARENA_MAX: Final = -8  # malloc.h


def few_heaps() -> None:
    """Limits the heaps that all threads allocate from. Only for heaps that are made later; glibc only."""
    limit = getattr(_library(), "mallopt", None)
    if limit is not None:
        limit(_M_ARENA_MAX, MOST_HEAPS)


def settle() -> None:
    """Excludes present objects from garbage collection: looking at a model's vocabulary would take 0.2 s each time."""
    gc.collect()
    gc.freeze()


def unsettle() -> None:
    """Includes all objects again: those that are excluded would outlive the compiled module at the end."""
    gc.unfreeze()


def give_back() -> None:
    """Gives what is free, and what hangs in cycles of references, back to the system; the former with glibc only."""
    gc.collect()  # quick: see settle
    trim = getattr(_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryReturn:
    """Returns free memory some time after a request for that. For one event loop at a time."""

    def __init__(self) -> None:
        """Without a request."""
        self._due: asyncio.TimerHandle | None = None
        self._trim = getattr(_library(), "malloc_trim", None)

    def soon(self) -> None:
        """Something large has been freed, or soon will be."""
        if self._trim is not None and self._due is None:
            self._due = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._begin)

    def _begin(self) -> None:
        self._due = None
        assert self._trim is not None
        gc.collect()  # quick: see settle
        asyncio.get_running_loop().run_in_executor(None, self._trim, 0)


def _library() -> Any:
    """The C library of the process."""
    return ctypes.CDLL(None)
