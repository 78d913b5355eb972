"""Ctrl-C while a reply is made: it ends the reply, and not the program."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from lutmac.engine.running.engine import Engine


class ReplyInterrupt:
    """While it is entered, Ctrl-C raises KeyboardInterrupt only where that leaves the engine consistent.

    Elsewhere the first one is noted in `raised`, for the caller to look at between two pieces; a second is raised as
    usual.
    """

    def __init__(self, engine: Engine) -> None:
        """Takes nothing over yet."""
        self.raised = False
        self._engine = engine
        self._previous: Any = None

    def __enter__(self) -> Self:
        """Takes Ctrl-C over."""
        self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives Ctrl-C back."""
        signal.signal(signal.SIGINT, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.raised or self._engine.may_be_interrupted:
            raise KeyboardInterrupt
        self.raised = True
