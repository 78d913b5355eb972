"""A batch answered by replicas on a Ray cluster, through Ray Data.

https://docs.ray.io/en/latest/data/batch_inference.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from threading import Thread
from typing import Any, Final

import ray.data
from ray.exceptions import RayError

from lutmac.batch.local import answer_request, batch_app
from lutmac.batch.output import Entry
from lutmac.batch.requests import BatchRequest
from lutmac.cluster.connection import Shares, reason_of
from lutmac.cluster.replica import ReplicaSpec
from lutmac.errors import InvalidRequestError

BLOCK: Final = 16  # requests that go to a replica together, and come back together: what its engine runs at a time
BLOCKS_AT_ONCE: Final = 3  # of a replica, so that its engine has something to do while the last of a block end
WINDOW: Final = 50_000  # requests that the cluster holds at a time


class ClusterAnswerer:
    """Answers requests with replicas on the connected cluster."""

    def __init__(self, spec: ReplicaSpec, shares: Shares) -> None:
        """shares: how many replicas, and the threads of each."""
        self._spec = spec
        self._shares = shares

    def __call__(self, requests: Iterator[BatchRequest]) -> Iterator[list[Entry]]:
        """Entries, a block of requests at a time, in the order in which blocks end.

        A block whose replica dies goes to another one. Raises InvalidRequestError where no replica comes up.
        """
        while window := list(islice(requests, WINDOW)):
            try:
                yield from self._answer(window)
            except RayError as error:
                raise InvalidRequestError(f"the batch has stopped: {reason_of(str(error))}") from None

    def _answer(self, requests: list[BatchRequest]) -> Iterator[list[Entry]]:
        _quiet()
        rows = [{"request": json.dumps(asdict(request))} for request in requests]
        blocks = -(-len(rows) // BLOCK)
        replicas = min(self._shares.replicas, blocks)
        answered = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            BatchReplica,
            fn_constructor_args=(self._spec,),
            batch_size=None,  # a block as it is
            compute=ray.data.ActorPoolStrategy(
                size=replicas,
                max_tasks_in_flight_per_actor=BLOCKS_AT_ONCE,
                max_concurrent_calls_per_actor=BLOCKS_AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=self._shares.threads,
        )
        for block in answered.iter_batches(batch_size=None, prefetch_batches=0):
            yield [json.loads(text) for text in block["entry"]]


class BatchReplica:
    """A loaded model that answers blocks of requests, several at a time."""

    def __init__(self, spec: ReplicaSpec) -> None:
        """Loads the model, which takes a while. Raises what ``lutmac.load`` raises."""
        model = spec.load()
        self._app = batch_app(model, spec.names(model))
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="lutmac-batch", daemon=True).start()

    def __call__(self, block: dict[str, Any]) -> dict[str, list[str]]:
        """The column "entry" for the column "request", both JSON texts."""
        return asyncio.run_coroutine_threadsafe(self._answer(block["request"]), self._loop).result()

    async def _answer(self, texts: Any) -> dict[str, list[str]]:
        requests = [BatchRequest(**json.loads(text)) for text in texts]
        entries = await asyncio.gather(*(answer_request(self._app, request) for request in requests))
        return {"entry": [json.dumps(entry) for entry in entries]}


def _quiet() -> None:
    """Keeps Ray Data's own bars and lines off the terminal; its log file has them."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
