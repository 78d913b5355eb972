"""What a ``with`` closes."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closable:
    """Has a ``close``, which the end of a ``with`` calls."""

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Lets go of what it holds; a second time does nothing."""
        raise NotImplementedError
