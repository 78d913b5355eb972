"""Which replica gets a request: the one that knows its beginning, unless that has much more to do than others.

https://docs.ray.io/en/latest/serve/advanced-guides/custom-request-router.html
"""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any, Final

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

MOST_AHEAD: Final = 4  # requests that a replica may have more than the least loaded one before affinity gives way
REMEMBERED: Final = 1 << 16  # beginnings


class PrefixRouter(RequestRouter):
    """Prefers the replica that got the longest known beginning of a request last; else the least loaded one.

    Beginnings are numbers as `lutmac.cluster.prefix` makes them, in the call's argument ``prefix``.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Ray calls this in place of a constructor."""
        self._homes: OrderedDict[int, ReplicaID] = OrderedDict()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas; of the first rank with one that takes the request, the least loaded gets it."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # all replicas are in the last rank
        home = self._home(candidate_replicas, _prefix(pending_request))
        everybody = random.sample(candidate_replicas, len(candidate_replicas))  # of equal ones the first is taken
        return [[home], everybody] if home is not None else [everybody]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: object) -> None:
        """Takes note of where a request went."""
        for number in _prefix(pending_request):
            self._homes[number] = replica_id
            self._homes.move_to_end(number)
        while len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)

    def _home(self, replicas: list[RunningReplica], prefix: tuple[int, ...]) -> RunningReplica | None:
        known = {replica.replica_id: replica for replica in replicas}
        for number in reversed(prefix):
            home = self._homes.get(number)
            if home is not None and (replica := known.get(home)) is not None:
                loads = {replica.replica_id: self._load(replica) for replica in replicas}
                return replica if loads[replica.replica_id] - min(loads.values()) <= MOST_AHEAD else None
        return None

    def _load(self, replica: RunningReplica) -> int:
        """Requests of a replica, as far as they are known here."""
        return self.replica_queue_len_cache.get(replica.replica_id) or 0


def _prefix(pending_request: PendingRequest | None) -> tuple[int, ...]:
    return pending_request.kwargs.get("prefix", ()) if pending_request is not None else ()
