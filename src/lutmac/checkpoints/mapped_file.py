"""Mapping a checkpoint's file into memory, read-only."""

from __future__ import annotations

import mmap
import os
import stat

from lutmac.errors import CheckpointError


def map_file(path: str) -> mmap.mmap:
    """Maps a regular, non-empty file read-only. Raises CheckpointError, with the path, where that cannot be done."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise CheckpointError(f"{path}: is a directory; give the path of a model file in it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for a writer
            raise CheckpointError(f"{path}: is not a regular file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"{path}: is empty; download it again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"{path}: cannot be read: {reason}") from None


def drop_pages(mapped: mmap.mmap, start: int, length: int) -> None:
    """Returns the memory that holds these bytes to the system; what is read again comes from the page cache or disk."""
    page = start // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        mapped.madvise(mmap.MADV_DONTNEED, page, start + length - page)
