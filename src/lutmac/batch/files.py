"""Files that clients of a server have uploaded, or that its batches have written: on disk, until the server ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from uuid import uuid4
from weakref import finalize

from lutmac.server.errors import ApiError


@dataclass(frozen=True)
class StoredFile:
    """A file. bytes: its size. created_at: seconds since 1970."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    path: Path


class FileStore:
    """Files by their ids, in a directory of their own, which goes with the store."""

    def __init__(self, most_bytes: int) -> None:
        """most_bytes: of all together."""
        self._most_bytes = most_bytes
        self._directory = Path(tempfile.mkdtemp(prefix="lutmac-files-"))
        self._files: dict[str, StoredFile] = {}
        finalize(self, shutil.rmtree, self._directory, ignore_errors=True)

    def __iter__(self) -> Iterator[StoredFile]:
        """The files, the latest first."""
        return reversed(list(self._files.values()))

    def new_path(self) -> Path:
        """Where a file can be written that is added later."""
        return self._directory / uuid4().hex

    def put(self, data: bytes, filename: str, purpose: str) -> StoredFile:
        """Keeps a file. Raises ApiError (413) where there is no room for it."""
        path = self.new_path()
        self._check_room(len(data))
        path.write_bytes(data)
        return self.add(path, filename, purpose)

    def add(self, path: Path, filename: str, purpose: str) -> StoredFile:
        """Takes in what has been written to a path of `new_path`."""
        id = f"file-{uuid4().hex}"
        found = StoredFile(id, filename, purpose, path.stat().st_size, int(time()), path)
        self._files[id] = found
        return found

    def get(self, id: str) -> StoredFile:
        """A file. Raises ApiError (404)."""
        found = self._files.get(id)
        if found is None:
            raise ApiError(404, f"there is no file {id[:80]!r}: files end with the server", code="file_not_found")
        return found

    def delete(self, id: str) -> None:
        """Forgets a file. Raises ApiError (404)."""
        found = self.get(id)
        del self._files[id]
        found.path.unlink(missing_ok=True)

    def _check_room(self, size: int) -> None:
        taken = sum(file.bytes for file in self._files.values())
        if taken + size > self._most_bytes:
            raise ApiError(413, f"files may have {self._most_bytes} bytes together: delete some")
