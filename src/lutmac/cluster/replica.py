"""A model on some node: the server's application without its sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import lutmac
from lutmac.engine.loading.tuning import current_tuning
from lutmac.engine.running.stats import EngineStats
from lutmac.server.app import create_app, default_names
from lutmac.server.exchange import Message
from lutmac.server.in_process import Call, messages
from lutmac.server.logs import RequestRecord
from lutmac.server.settings import Settings

RECORD: Final = "lutmac.record"  # type of the last message of an answer: what the replica noted of the request


@dataclass(frozen=True)
class ReplicaSpec:
    """What a replica loads: a model that every node finds by this name or path.

    threads: at most so many, and never more than the node has. arguments: more of them for ``lutmac.load``. settings:
    without keys, which stay where clients come in.
    """

    path_or_name: str
    threads: int
    arguments: Mapping[str, Any]
    settings: Settings

    def load(self) -> lutmac.Model:
        """The model, loaded. Raises what ``lutmac.load`` raises."""
        threads = min(self.threads, current_tuning().thread_count)
        return lutmac.load(self.path_or_name, threads=threads, **self.arguments)

    def names(self, model: lutmac.Model) -> tuple[str, ...]:
        """What clients call the model."""
        return self.settings.names or default_names(model, self.path_or_name)


class Replica:
    """A loaded model that answers requests; Ray Serve makes as many as it takes."""

    def __init__(self, spec: ReplicaSpec) -> None:
        """Loads the model, which takes a while. Raises what ``lutmac.load`` raises."""
        model = spec.load()
        self._worker = model.worker
        self._app = create_app(model, replace(spec.settings, names=spec.names(model)))
        self._id = uuid4().hex[:8]

    async def answer(self, call: Call, prefix: tuple[int, ...] = ()) -> AsyncGenerator[list[Message], None]:
        """What the application answers, as it comes; the last message is one of type RECORD.

        prefix: what the request begins with, for `PrefixRouter`.
        """
        scope = call.scope()
        scope["state"] = {}
        async with aclosing(messages(self._app, scope, call.body)) as sent:
            async for several in sent:
                yield several
        record: RequestRecord = scope["state"]["record"]
        yield [{"type": RECORD, **record.as_dict()}]

    async def stats(self) -> tuple[str, EngineStats]:
        """A name for this replica, and its engine's figures."""
        return self._id, self._worker.stats()
