"""How much memory the key-value cache may take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lutmac import _native
from lutmac.errors import InvalidRequestError

FULL_SEQUENCES = 8  # sequences of full length that the cache has room for, where memory allows
SHARE = 0.5  # of the memory that is available, at most


def cache_pages(page_bytes: int, max_context: int, budget: int | None) -> int:
    """Pages of a key-value cache. page_bytes: of all layers. budget: bytes, or None for the default.

    The default has room for ``FULL_SEQUENCES`` of full length, but takes at most half of the memory that is available,
    and at least room for one. Raises InvalidRequestError where a given budget has none for one.
    """
    full = -(-max_context // _native.PAGE_TOKENS)
    if budget is None:
        return max(full, min(full * FULL_SEQUENCES, int(available_memory() * SHARE) // page_bytes))
    pages = budget // page_bytes
    if pages < full:
        raise InvalidRequestError(
            f"kv_cache_memory is {budget} bytes, but one sequence of {max_context} positions takes "
            f"{full * page_bytes}; give more, or a smaller context"
        )
    return pages


def available_memory() -> int:
    """Bytes that this process may still take without swapping: what the system has, within the cgroup's limit."""
    found = [_meminfo("MemAvailable")]
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such cgroup, or "max"
            found.append(int(Path(limit).read_text()) - int(Path(usage).read_text()))
    return max(0, min(found))


def _meminfo(name: str) -> int:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 1 << 62  # a system that does not say
