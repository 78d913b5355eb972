"""Who may use the processor's cores: the engines of a process, and what loads models, one after the other.

All of them share one pool of threads, so that there are never more busy threads than cores. Whoever has the cores has
all of them, for a step of an engine or for some packing. Next is whoever has had the least time among those that wait,
divided by how many clients it serves (start-time fair queueing, Goyal, Vin and Cheng 1996). Whoever comes begins at the
level of those that are there: it is next after the step that runs, and is not owed what it did not use.
"""

from __future__ import annotations

import os
from threading import Condition
from time import monotonic
from types import TracebackType
from typing import Final

# An engine is back for its next step after this at most: for so long its place is kept, though it does not wait yet.
# Otherwise engines with steps of 5 and of 50 ms would go step by step, and the first would have a tenth.
BACK_WITHIN: Final = 0.003


class CoreQueue:
    """Hands the cores to one user at a time. Safe to use from several threads."""

    def __init__(self) -> None:
        """Nobody is there."""
        self._changed = Condition()
        self._waiting: list[CoreUser] = []  # in the order in which they came
        self._holder: CoreUser | None = None
        self._kept_for: CoreUser | None = None
        self._kept_until = 0.0
        self._level = 0.0  # what the one had had that began last

    def take(self, user: CoreUser) -> None:
        """Waits until the user has the cores."""
        with self._changed:
            if user is not self._kept_for:
                user.had = max(user.had, self._level)
            self._waiting.append(user)
            try:
                while not self._is_next(user):
                    kept = self._kept_until - monotonic()
                    self._changed.wait(kept if self._holder is None and kept > 0 else None)
            finally:
                self._waiting.remove(user)
            self._holder, self._kept_for = user, None
            self._level = max(self._level, user.had)

    def give_back(self, user: CoreUser, seconds: float, *, is_back: bool) -> None:
        """Ends the user's time. seconds: that are counted. is_back: whether it wants the cores again at once."""
        with self._changed:
            user.had += seconds
            self._holder = None
            if is_back:
                self._kept_for, self._kept_until = user, monotonic() + BACK_WITHIN
            if self._waiting:
                self._changed.notify_all()

    def is_shared(self, user: CoreUser) -> bool:
        """Whether anybody else has the cores, or waits for them."""
        with self._changed:
            return bool({*self._there(), self._holder} - {user, None})

    def _is_next(self, user: CoreUser) -> bool:
        if self._holder not in (None, user):  # Ctrl-C may have kept the user from giving them back
            return False
        return min(self._there(), key=lambda one: one.had) is user  # of equals the one that came first

    def _there(self) -> list[CoreUser]:
        """Those that wait, and the one that is about to be back."""
        kept = self._kept_for
        is_kept = kept is not None and kept not in self._waiting and monotonic() < self._kept_until
        return [*self._waiting, kept] if is_kept and kept is not None else list(self._waiting)


class CoreUser:
    """Somebody who uses the cores. had: seconds of them, divided by how many clients it served each time."""

    def __init__(self) -> None:
        """Has had nothing."""
        self.had = 0.0

    def all_cores(self) -> CoreTime:
        """Time with the cores, for ``with``: waits until they are free for this user."""
        return CoreTime(self)

    @property
    def shares(self) -> bool:
        """Whether anybody else uses the cores, or wants to."""
        return _queue.is_shared(self)


class CoreTime:
    """Some time with the cores. clients: that the user serves. is_back: whether it wants them again at once.

    Both may be set until the time ends.
    """

    def __init__(self, user: CoreUser) -> None:
        """user: who wants them."""
        self.clients = 1
        self.is_back = False
        self._user = user
        self._began = 0.0

    def __enter__(self) -> CoreTime:
        """Waits for them."""
        _queue.take(self._user)
        self._began = monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Gives them back."""
        _queue.give_back(self._user, (monotonic() - self._began) / max(1, self.clients), is_back=self.is_back)


_queue = CoreQueue()


def _begin_anew() -> None:
    global _queue  # noqa: PLW0603 - a forked child has none of the threads that have or await the cores
    _queue = CoreQueue()


os.register_at_fork(after_in_child=_begin_anew)
