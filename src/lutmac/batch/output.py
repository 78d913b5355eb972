"""The output file of a batch. A request counts as answered when its line is on the disk."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lutmac.batch.requests import ID_PREFIX, Refusal
from lutmac.errors import InvalidRequestError

Entry = dict[str, Any]


def response_entry(id: str, custom_id: str, status: int, request_id: str, body: Any) -> Entry:
    """The line of a request that was answered, in OpenAI's format. status: of HTTP; a refusal's body says why."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": id, "custom_id": custom_id, "response": response, "error": None}


def refusal_entry(refusal: Refusal) -> Entry:
    """The line of one that could not be run."""
    error = {"code": refusal.code, "message": refusal.message}
    return {"id": refusal.id, "custom_id": refusal.custom_id, "response": None, "error": error}


class BatchOutput:
    """An append-only file of JSON lines, one process at a time.

    done: ids of the lines that it holds. A line that a dying process left half is dropped when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidRequestError for a file that cannot be written, is in use, or holds something else."""
        self.done: set[str] = set()
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InvalidRequestError(f"{path}: cannot write the replies: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
            _sync_directory(path)
        except BlockingIOError:
            self.close()
            raise InvalidRequestError(f"{path}: another `lutmac batch` is writing it") from None
        except BaseException:
            self.close()
            raise

    def append(self, entries: Iterable[Entry]) -> list[Entry]:
        """Writes those that are not there yet, and returns them once they are on the disk.

        Raises InvalidRequestError where the disk does not take them.
        """
        new = []
        for entry in entries:
            if entry["id"] not in self.done:
                self.done.add(entry["id"])
                new.append(entry)
        text = "".join(json.dumps(entry) + "\n" for entry in new).encode()  # ASCII: no text breaks a line
        try:
            while text:
                text = text[os.write(self._file, text) :]
            os.fsync(self._file)
        except OSError as error:
            raise InvalidRequestError(f"{self._path}: cannot write the replies: {error.strerror}") from None
        return new

    def close(self) -> None:
        """Lets others write the file."""
        with suppress(OSError):
            os.close(self._file)

    def _read(self) -> None:
        """Takes note of what the file holds; a last line without its end is cut off."""
        complete = 0
        with open(os.dup(self._file), "rb") as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                self.done.add(self._id(line, number))
                complete += len(line)
        os.ftruncate(self._file, complete)

    def _id(self, line: bytes, number: int) -> str:
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and str(entry.get("id")).startswith(ID_PREFIX) and "custom_id" in entry:
                return str(entry["id"])
        raise InvalidRequestError(
            f"{self._path}: line {number} is not from a batch: name another file for the replies, or remove this one"
        )


def _sync_directory(path: Path) -> None:
    """A new file's name is on the disk as well only when its directory is."""
    directory = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
