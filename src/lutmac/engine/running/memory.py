"""How much memory the key-value cache may take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lutmac.engine.running.kv_cache import pages_for
from lutmac.errors import InvalidRequestError
from lutmac.graph.compile import Limits

FULL_SEQUENCES = 8  # sequences of full length that the cache has room for, where memory allows
SHARE = 0.5  # of the memory that is available, at most


@dataclass(frozen=True)
class GroupNeed:
    """What a cache group takes. page_bytes: of all its states.

    one: pages of one sequence of full length; of a windowed group those of its window and of a step's tokens. most:
    pages beyond which more are of no use, 0 where there is no such number.
    """

    page_bytes: int
    one: int
    most: int = 0


def group_need(page_bytes: int, window: int, limits: Limits) -> GroupNeed:
    """The need of a group whose layers see ``window`` positions, 0 for all.

    A windowed group is of use as far as all sequences of a step have their windows in it, and as much again idle.
    """
    full = pages_for(limits.max_context)
    if not window:
        return GroupNeed(page_bytes, full)
    of_window, of_step = pages_for(window) + 1, pages_for(limits.max_tokens) + 1
    one = min(full, of_window + of_step)
    return GroupNeed(
        page_bytes, one, max(one, min(2 * limits.max_sequences * of_window + of_step, FULL_SEQUENCES * full))
    )


def divide_memory(groups: Sequence[GroupNeed], budget: int | None) -> list[int]:
    """Pages of each cache group. budget: bytes in all, or None for the default.

    Memory is divided as one sequence of full length needs it, but for what is beyond a windowed group's use. The
    default has room for ``FULL_SEQUENCES`` of full length, but takes at most half of the memory that is available, and
    at least room for one. Raises InvalidRequestError where a given budget has none for one.
    """
    one = sum(group.one * group.page_bytes for group in groups)
    if budget is None:
        wanted = sum((group.most or FULL_SEQUENCES * group.one) * group.page_bytes for group in groups)
        budget = max(one, min(wanted, int(available_memory() * SHARE)))
    if budget < one:
        raise InvalidRequestError(
            f"kv_cache_memory is {budget} bytes, but one sequence takes {one}; give more, or a smaller context"
        )
    if all(group.most for group in groups):
        return [budget * group.one // one for group in groups]
    bounded = {index: min(group.most, budget * group.one // one) for index, group in enumerate(groups) if group.most}
    rest = budget - sum(groups[index].page_bytes * pages for index, pages in bounded.items())
    unbounded = sum(group.one * group.page_bytes for group in groups if not group.most)
    return [bounded.get(index, rest * group.one // unbounded) for index, group in enumerate(groups)]


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
