"""Where a model is written: under another name until it is complete, and by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from lutmac.errors import CheckpointError, InvalidRequestError


class Destination:
    """A file or a directory that is written as ``NAME.partial`` and renamed when it is complete. Use it in a ``with``.

    Whatever ends the ``with`` early leaves nothing there; a failure of the system (a full disk, one that is read-only)
    becomes a CheckpointError. ``NAME.lock`` keeps other processes off; the system lets go of it when a process dies.

    path: as given. unfinished: where to write.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidRequestError where the path exists or cannot be."""
        self.path = path
        self.unfinished = path.with_name(f"{path.name}.partial")
        self._lock = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None
        self._check()

    def __enter__(self) -> Self:
        """Raises InvalidRequestError where another process writes there, or has written meanwhile."""
        with self._told():
            self._descriptor = self._take()
            self._remove_unfinished()
        try:
            self._check()
        except InvalidRequestError:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes what is unfinished."""
        self._remove_unfinished()
        self._let_go()
        if isinstance(error, OSError):
            raise self._told_error(error) from None

    def make_directory(self) -> Path:
        """The unfinished directory, empty."""
        self.unfinished.mkdir()
        return self.unfinished

    def publish(self) -> None:
        """Gives what was written its name, once it is on the disk."""
        files = [self.unfinished] if self.unfinished.is_file() else self.unfinished.rglob("*")
        for file in files:
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        self.unfinished.rename(self.path)

    def _check(self) -> None:
        if self.path.exists():
            raise InvalidRequestError(f"{self.path}: exists already; remove it, or give another name")
        if not self.path.absolute().parent.is_dir():
            raise InvalidRequestError(f"{self.path}: there is no directory {self.path.absolute().parent}")

    def _take(self) -> int:
        """The lock's file, locked: the one that lies there, not one that its last owner has removed meanwhile."""
        while True:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise InvalidRequestError(f"{self.path}: another process is writing it") from None
            except OSError:
                os.close(descriptor)
                raise
            if self._lock.exists() and os.path.samestat(os.fstat(descriptor), self._lock.stat()):
                return descriptor
            os.close(descriptor)

    def _let_go(self) -> None:
        if self._descriptor is not None:
            self._lock.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _remove_unfinished(self) -> None:
        if self.unfinished.is_dir():
            shutil.rmtree(self.unfinished, ignore_errors=True)
        else:
            self.unfinished.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._told_error(error) from None

    def _told_error(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"{self.path}: cannot be written: {error.strerror or error}")
