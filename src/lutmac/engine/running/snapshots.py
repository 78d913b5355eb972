"""Slots: what a sequence keeps in fixed size, and snapshots of it where somebody may come back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lutmac.engine.running.kv_cache import PAGE_TOKENS
from lutmac.engine.running.prefix_tree import CachedPage, PrefixTree, Snapshot

BORDER_TOKENS = 16 * PAGE_TOKENS  # a sequence that has come so far is worth a snapshot, wherever it goes


@dataclass(frozen=True)
class Places:
    """Positions at which a sequence leaves a snapshot: its own, and the borders of every 16th page.

    No step passes one, so that the slot can be copied just there.
    """

    own: tuple[int, ...]

    @classmethod
    def of(cls, begun: int, wanted: Iterable[int | None], least: int) -> Places:
        """Those of the wanted ones that spare whoever comes back at least so many tokens behind ``begun``."""
        return cls(tuple(sorted({place for place in wanted if place is not None and place >= begun + least})))

    def behind(self, computed: int) -> int:
        """The next one."""
        border = (computed // BORDER_TOKENS + 1) * BORDER_TOKENS
        return min((place for place in self.own if computed < place < border), default=border)

    def __contains__(self, position: int) -> bool:
        """Whether it is one."""
        return position in self.own or (position > 0 and position % BORDER_TOKENS == 0)


class SlotPool:
    """The slots of a cache: one for each sequence that runs, and snapshots in all that are left.

    A sequence that begins goes before a snapshot: that which was used least recently is given up for it, or for a newer
    snapshot. One that was left in passing, at a border, counts as used when somebody has come back to it: a long prompt
    does not cost others theirs. Where sequences have all slots, no snapshot is taken.
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
        """A slot for a sequence, with what ``source`` has; None where sequences have all.

        Without a source its contents belong to nobody. Where the source's own is the only one left, it is that.
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
        """Puts what ``source`` has into the slot of a sequence."""
        self._copy(source.slot, slot)
        self._snapshots.move_to_end(source)

    def give(self, slot: int) -> None:
        """Takes a slot back whose contents nobody needs."""
        self._free.append(slot)

    def snapshot(self, slot: int, node: CachedPage, tokens: bytes, *, in_passing: bool = False) -> Snapshot | None:
        """A copy of a slot that has seen ``node`` and these tokens behind it; None where there is no room for one."""
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
        """Makes a snapshot of a slot that its sequence needs no more."""
        if self._known(node, tokens) is not None:
            self.give(slot)
        else:
            self._keep(slot, node, tokens)

    def _known(self, node: CachedPage, tokens: bytes) -> Snapshot | None:
        """The snapshot that there is already: its bits are the same."""
        snapshot = node.snapshots.get(tokens)
        if snapshot is not None:
            self._snapshots.move_to_end(snapshot)
        return snapshot

    def _keep(self, slot: int, node: CachedPage, tokens: bytes) -> Snapshot:
        snapshot = node.snapshots[tokens] = Snapshot(node, tokens, slot)
        self._snapshots[snapshot] = None
        return snapshot

    def _allocate(self, kept: Snapshot | None) -> int | None:
        """A free slot, or that of the snapshot, other than ``kept``, that was used least recently."""
        if self._free:
            return self._free.pop()
        oldest = next((snapshot for snapshot in self._snapshots if snapshot is not kept), None)
        return None if oldest is None else self._forget(oldest)

    def _forget(self, snapshot: Snapshot) -> int:
        del self._snapshots[snapshot]
        del snapshot.node.snapshots[snapshot.tokens]
        self._tree.prune(snapshot.node)
        return snapshot.slot
