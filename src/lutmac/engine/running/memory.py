"""How much memory the key-value cache may take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lutmac.engine.running.kv_cache import pages_for
from lutmac.errors import InvalidRequestError
from lutmac.graph.compile import CacheLayout, Limits

FULL_SEQUENCES = 8  # sequences of full length that the cache has room for, where memory allows
SHARE = 0.5  # of the memory that is available, at most
# Slots for each of these sequences: its own and snapshots of two turns' ends and of what lies before them, and where
# slots are small as many as an eighth of its pages takes, which is more than a conversation has places.
FEWEST_SLOTS, MOST_SLOTS, SLOT_SHARE = 4, 32, 8


@dataclass(frozen=True)
class GroupNeed:
    """What a cache group needs. page_bytes: of one page, all states of the group together.

    one: pages of one sequence of full length. A windowed group needs those of its window and of one step's tokens;
    slots are its own and those for its snapshots. most: more pages than this are of no use; 0 for no limit. spared: how
    many of ``one`` a sequence can do without.
    """

    page_bytes: int
    one: int
    most: int = 0
    spared: int = 0

    @property
    def least(self) -> int:
        """Pages that one sequence of full length must have."""
        return self.one - self.spared


def group_need(page_bytes: int, window: int, limits: Limits) -> GroupNeed:
    """The need of a group whose layers see ``window`` positions, 0 for all.

    A windowed group can use the windows of all sequences of a step, and as many pages again that are idle.
    """
    full = pages_for(limits.max_context)
    if not window:
        return GroupNeed(page_bytes, full)
    of_window, of_step = pages_for(window) + 1, pages_for(limits.max_tokens) + 1
    one = min(full, of_window + of_step)
    most = max(one, min(2 * limits.max_sequences * of_window + of_step, FULL_SEQUENCES * full))
    return GroupNeed(page_bytes, one, most)


def slot_need(slot_bytes: int, sequence_bytes: int) -> GroupNeed:
    """The need of a group of slots. sequence_bytes: what a sequence of full length needs in the other groups."""
    one = min(MOST_SLOTS, max(FEWEST_SLOTS, sequence_bytes // (SLOT_SHARE * slot_bytes)))
    return GroupNeed(slot_bytes, one, FULL_SEQUENCES * one, one - 1)


def cache_needs(layout: CacheLayout, limits: Limits) -> list[GroupNeed]:
    """Of each cache group: of pages, or of slots, which depends on what the others need."""
    needs = {
        group: group_need(layout.group_bytes(group), window, limits)
        for group, window in enumerate(layout.groups)
        if window is not None
    }
    pages = sum(need.one * need.page_bytes for need in needs.values())
    return [needs.get(group) or slot_need(layout.group_bytes(group), pages) for group in range(len(layout.groups))]


def least_bytes(groups: Sequence[GroupNeed]) -> int:
    """What one sequence of full length takes."""
    return sum(group.least * group.page_bytes for group in groups)


def wanted_bytes(groups: Sequence[GroupNeed]) -> int:
    """What ``FULL_SEQUENCES`` of full length take: where there is memory, the default."""
    return sum((group.most or FULL_SEQUENCES * group.one) * group.page_bytes for group in groups)


def divide_memory(groups: Sequence[GroupNeed], budget: int | None) -> list[int]:
    """Pages (or slots) of each cache group. budget: bytes for all groups; None for the default.

    Memory is divided in proportion to what one sequence of full length needs, up to each group's ``most``. The default
    has room for ``FULL_SEQUENCES`` sequences of full length. It takes at most half of the available memory, and at
    least what one sequence needs. Raises InvalidRequestError if a given budget is less than that.
    """
    least = least_bytes(groups)
    if budget is None:
        budget = max(least, min(wanted_bytes(groups), int(available_memory() * SHARE)))
    if budget < least:
        raise InvalidRequestError(
            f"kv_cache_memory is {budget} bytes, but one sequence takes {least}; give more, or a smaller context"
        )
    one = sum(group.one * group.page_bytes for group in groups)

    def proportion(group: GroupNeed) -> int:
        """Its share of the budget; if memory is short, no more than the other groups can spare."""
        spare = budget - least + group.least * group.page_bytes
        return min(max(group.least, budget * group.one // one), spare // group.page_bytes)

    unbounded = sum(group.one * group.page_bytes for group in groups if not group.most)
    if not unbounded:
        return [proportion(group) for group in groups]
    bounded = {index: min(group.most, proportion(group)) for index, group in enumerate(groups) if group.most}
    rest = budget - sum(groups[index].page_bytes * pages for index, pages in bounded.items())
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
