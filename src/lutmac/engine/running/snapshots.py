"""Slots, and snapshots of them at positions from which a later sequence may go on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lutmac.engine.running.kv_cache import PAGE_TOKENS
from lutmac.engine.running.prefix_tree import CachedPage, PrefixTree, Snapshot

BORDER_TOKENS = 16 * PAGE_TOKENS  # tokens: a snapshot is taken every so often


@dataclass(frozen=True)
class Places:
    """Positions at which a snapshot of a sequence is taken: its own, and every 16th page border.

    No step passes such a position, so that the slot can be copied there.
    """

    own: tuple[int, ...]

    @classmethod
    def of(cls, begun: int, wanted: Iterable[int | None], least: int) -> Places:
        """Those of the wanted positions that are at least ``least`` tokens behind ``begun``; None is left out."""
        return cls(tuple(sorted({place for place in wanted if place is not None and place >= begun + least})))

    def behind(self, computed: int) -> int:
        """The next position behind ``computed``."""
        border = (computed // BORDER_TOKENS + 1) * BORDER_TOKENS
        return min((place for place in self.own if computed < place < border), default=border)

    def __contains__(self, position: int) -> bool:
        """Whether it is one."""
        return position in self.own or (position > 0 and position % BORDER_TOKENS == 0)


class SlotPool:
    """The slots of a cache: one for each running sequence, and snapshots in the others.

    A new sequence, or a newer snapshot, takes a free slot or that of the least recently used snapshot. A snapshot at a
    page border counts as used only after a sequence has begun at it, so that a long prompt does not evict the snapshots
    of others. If running sequences have all slots, no snapshot is taken.
    """

    def __init__(self, num_slots: int, tree: PrefixTree, copy: Callable[[int, int], None]) -> None:
        """tree: where snapshots stand. copy: copies one slot's contents to another."""
        self.num_slots = num_slots
        self._tree = tree
        self._copy = copy
        self._free = list(range(num_slots - 1, -1, -1))
        self._snapshots: OrderedDict[Snapshot, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Slots that no sequence has."""
        return len(self._free) + len(self._snapshots)

    @property
    def snapshots(self) -> int:
        """How many are kept."""
        return len(self._snapshots)

    def take(self, source: Snapshot | None = None) -> int | None:
        """A slot for a sequence, with the contents of ``source``; None if running sequences have all slots.

        Without a source the contents are undefined. If the source's own slot is the only one left, it is returned
        itself.
        """
        slot = self._allocate(source)
        if source is None:
            return slot
        if slot is None:
            return self._forget(source)
        self._copy(source.slot, slot)
        self._snapshots.move_to_end(source)
        return slot

    def renew(self, slot: int, source: Snapshot) -> None:
        """Copies ``source`` into the slot of a sequence."""
        self._copy(source.slot, slot)
        self._snapshots.move_to_end(source)

    def give(self, slot: int) -> None:
        """Takes back a slot whose contents are not needed."""
        self._free.append(slot)

    def snapshot(self, slot: int, node: CachedPage, tokens: bytes, *, in_passing: bool = False) -> Snapshot | None:
        """A copy of a slot at ``node`` and these tokens behind it; None if there is no slot for it."""
        if (known := self._known(node, tokens)) is not None:
            return known
        copy = self._allocate(None)
        if copy is None:
            return None
        self._copy(slot, copy)
        snapshot = self._keep(copy, node, tokens)
        if in_passing:
            self._snapshots.move_to_end(snapshot, last=False)
        return snapshot

    def hand_over(self, slot: int, node: CachedPage, tokens: bytes) -> None:
        """Makes a snapshot of a slot that its sequence no longer needs."""
        if self._known(node, tokens) is not None:
            self.give(slot)
        else:
            self._keep(slot, node, tokens)

    def _known(self, node: CachedPage, tokens: bytes) -> Snapshot | None:
        """The snapshot that exists already: its bits are the same."""
        snapshot = node.snapshots.get(tokens)
        if snapshot is not None:
            self._snapshots.move_to_end(snapshot)
        return snapshot

    def _keep(self, slot: int, node: CachedPage, tokens: bytes) -> Snapshot:
        snapshot = node.snapshots[tokens] = Snapshot(node, tokens, slot)
        self._snapshots[snapshot] = None
        return snapshot

    def _allocate(self, kept: Snapshot | None) -> int | None:
        """A free slot, or that of the least recently used snapshot other than ``kept``; None for none."""
        if self._free:
            return self._free.pop()
        oldest = next((snapshot for snapshot in self._snapshots if snapshot is not kept), None)
        return None if oldest is None else self._forget(oldest)

    def _forget(self, snapshot: Snapshot) -> int:
        del self._snapshots[snapshot]
        del snapshot.node.snapshots[snapshot.tokens]
        self._tree.prune(snapshot.node)
        return snapshot.slot
