"""One of a server's models, in memory or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any, Final

from lutmac.engine.running.stats import EngineStats
from lutmac.server.backend import Backend

NEVER: Final = float("inf")  # seconds, as of what is not unloaded


class State(StrEnum):
    """Whether a model is in memory, by llama.cpp's names."""

    unloaded = "unloaded"
    loading = "loading"
    loaded = "loaded"


@dataclass(eq=False)
class ServedModel:
    """A model, and what has become of it. For one event loop.

    names: what clients may call it, the first is what it is listed as. backend: while it is loaded. users: requests
    that it answers. waiting: requests that wait for it; promised: those of them that it has been loaded for.
    is_wanted: whether somebody had it loaded without waiting for that. leaving: whether another one waits for its
    memory, so that it takes no new requests. bytes: of memory that it is counted with. keep_alive: seconds without a
    request after which it is unloaded. used_at: when it last had one. loads: how often it was loaded. error: why that
    last failed. unreadable: why its files say nothing of it. progress: bytes read, and in all, while it is loading.
    stamp: of the file that was loaded, see `file_stamp`. ended: what engines of it that are gone had counted.
    """

    names: tuple[str, ...]
    backend: Backend | None = None
    users: int = 0
    waiting: int = 0
    promised: int = 0
    is_wanted: bool = False
    is_loading: bool = False
    leaving: bool = False
    bytes: int = 0
    keep_alive: float = NEVER
    used_at: float = field(default_factory=monotonic)
    loads: int = 0
    error: str | None = None
    unreadable: str | None = None
    progress: tuple[int, int] | None = None
    stamp: tuple[int, int] | None = None
    ended: EngineStats | None = None

    @property
    def name(self) -> str:
        """What it is listed as."""
        return self.names[0]

    @property
    def state(self) -> State:
        """Whether it is in memory."""
        if self.is_loading:
            return State.loading
        return State.unloaded if self.backend is None else State.loaded

    @property
    def read(self) -> float | None:
        """How much of it has been read, from 0 to 1, while it is loading."""
        if not self.is_loading:
            return None
        done, total = self.progress or (0, 1)
        return min(1.0, done / max(1, total))

    @property
    def was_loaded(self) -> bool:
        """Whether it is in memory, or has been."""
        return self.backend is not None or self.ended is not None

    @property
    def is_busy(self) -> bool:
        """Whether it answers somebody, or is about to."""
        return self.users > 0 or self.promised > 0

    @property
    def unloaded_at(self) -> float:
        """When it is unloaded if no request comes, in seconds of the monotonic clock; infinite: not at all."""
        return NEVER if self.is_busy else self.used_at + self.keep_alive

    def figures(self) -> tuple[bool, int, int]:
        """Whether it is in memory, how often it was loaded, and bytes."""
        return self.backend is not None, self.loads, self.bytes

    def stats(self) -> EngineStats:
        """Its engine's figures; counts go on over unloading."""
        own = self.backend.model.worker.stats() if self.backend is not None else EngineStats.none()
        return own if self.ended is None else own.after(self.ended)

    def forget_backend(self) -> Backend:
        """Takes the backend out; its counts are kept."""
        backend = self.backend
        assert backend is not None
        self.ended, self.backend = self.stats(), None
        return backend


class Lease:
    """A request's hold on a loaded model, which stays in memory until ``end``."""

    def __init__(self, served: ServedModel, backend: Backend, at_end: Callable[[], None]) -> None:
        """at_end: called when it ends, once."""
        self.served = served
        self.backend = backend
        self._at_end: Callable[[], None] | None = at_end
        served.users += 1
        served.used_at = monotonic()

    def end(self) -> None:
        """Lets go of the model."""
        at_end, self._at_end = self._at_end, None
        if at_end is not None:
            self.served.users -= 1
            self.served.used_at = monotonic()
            at_end()

    def __enter__(self) -> Backend:
        """The model."""
        return self.backend

    def __exit__(self, *_: Any) -> None:
        """Lets go of it."""
        self.end()
