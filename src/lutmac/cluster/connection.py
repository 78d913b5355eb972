"""This process as a client of a Ray cluster, and what the cluster has.

https://docs.ray.io/en/latest/ray-core/api/doc/ray.init.html
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lutmac.errors import InvalidRequestError


@dataclass(frozen=True)
class Shares:
    """How a cluster is shared out. replicas: at most so many. threads: of each, and the cores that Ray keeps for it."""

    replicas: int
    threads: int


def check_ray() -> None:
    """Raises InvalidRequestError where the extra `ray` is missing."""
    if importlib.util.find_spec("ray") is None:
        raise InvalidRequestError("ray is not installed: pip install 'lutmac[ray]'")


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Joins the cluster at the address, else $RAY_ADDRESS, else the one that runs on this machine, else starts one.

    Leaves it at the end, and ends it if it was started here. Raises InvalidRequestError where none is reached.
    """
    check_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray  # noqa: PLC0415 - takes seconds, and is an extra

    try:
        ray.init(address=address, include_dashboard=None, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise InvalidRequestError(f"no Ray cluster at {where}: {str(error)[:300]}") from None
    try:
        yield
    finally:
        ray.shutdown()


def share_out(replicas: int | None, threads: int | None) -> Shares:
    """What is sensible for the cluster at hand where nobody says.

    replicas: default, one for each node that has cores. threads: default, the cluster's cores shared among the
    replicas, but no more than the smallest such node has.
    """
    import ray  # noqa: PLC0415 - as above

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    cores = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    cores = [count for count in cores if count] or [1]
    count = replicas or len(cores)
    return Shares(count, threads or max(1, min(*cores, sum(cores) // count)))


def reason_of(text: str) -> str:
    """Of what Ray says when something fails on a node, tracebacks and all, the line that says why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["Ray does not say why"]
    failures = [found[1] for line in lines if (found := re.match(r"(?:[\w.]+\.)?\w+Error: (.+)", line))]
    return (failures or lines)[-1 if failures else 0]
