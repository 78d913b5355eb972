"""Replicas of a model on a Ray cluster, behind a server in this process."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from lutmac.cluster.connection import Shares, reason_of
from lutmac.cluster.gateway import Front, Gateway
from lutmac.cluster.replica import Replica, ReplicaSpec
from lutmac.engine.load import MAX_SEQUENCES
from lutmac.errors import InvalidRequestError
from lutmac.server.app import enclose, endpoints_of
from lutmac.server.settings import Settings

ROUTER: Final = "lutmac.cluster.router:PrefixRouter"
CONSTRUCTOR_ATTEMPTS: Final = (
    2  # a model that cannot be loaded is told soon, one that met with bad luck gets another go
)


@dataclass(frozen=True)
class Scaling:
    """How many replicas there are. minimum, maximum: the same number for no scaling.

    requests: that a replica is meant to have; where they have more on the average, replicas are added, and where they
    have less, taken away. up_after, down_after: seconds for which that has to be so.
    """

    minimum: int
    maximum: int
    requests: float = 8.0
    up_after: float = 10.0
    down_after: float = 300.0


@contextmanager
def deployed(name: str, spec: ReplicaSpec, shares: Shares, scaling: Scaling, settings: Settings) -> Iterator[FastAPI]:
    """The application, while replicas run on the connected cluster. Ends them with the context.

    name: of the application in Ray Serve; an earlier one of that name is replaced. Raises InvalidRequestError where
    the replicas do not come up, with the reason that they gave.
    """
    logging.getLogger("ray.serve").addFilter(lambda record: record.levelno >= logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
    try:
        yield front_app(Front(_run(name, spec, shares, scaling, settings), settings))
    finally:
        with suppress(RayError, RayServeException):
            serve.delete(name)


def front_app(front: Front) -> FastAPI:
    """What clients speak to: the doors of every server, and the replicas behind them."""
    app = FastAPI(title="lutmac", openapi_url=None, docs_url=None, redoc_url=None)
    app.router.add_route("/{path:path}", Gateway(front))  # type: ignore[arg-type]
    enclose(app, front, endpoints_of())
    return app


def application_name(path_or_name: str) -> str:
    """A name in Ray Serve for what serves that model: letters, digits and hyphens."""
    return "lutmac-" + re.sub(r"[^a-zA-Z0-9]+", "-", path_or_name.rsplit("/", 1)[-1]).strip("-")


def _run(name: str, spec: ReplicaSpec, shares: Shares, scaling: Scaling, settings: Settings) -> DeploymentHandle[Any]:
    how_many: dict[str, Any] = {"num_replicas": scaling.minimum}
    if scaling.minimum != scaling.maximum:
        how_many = {"autoscaling_config": {
            "min_replicas": scaling.minimum, "initial_replicas": scaling.minimum, "max_replicas": scaling.maximum,
            "target_ongoing_requests": scaling.requests, "metrics_interval_s": 1.0,
            "look_back_period_s": min(10.0, max(1.0, scaling.up_after)),
            "upscale_delay_s": scaling.up_after, "downscale_delay_s": scaling.down_after,
        }}  # fmt: skip
    replicas = serve.deployment(
        **how_many,
        name="model",
        max_ongoing_requests=MAX_SEQUENCES,
        max_queued_requests=settings.limits.queue,
        ray_actor_options={"num_cpus": shares.threads},
        graceful_shutdown_timeout_s=settings.timeouts.drain,
        max_constructor_retry_count=CONSTRUCTOR_ATTEMPTS,
        request_router_config={"request_router_class": ROUTER},
    )(Replica)
    try:
        return serve.run(replicas.bind(spec), name=name, route_prefix=None)
    except (RuntimeError, RayServeException) as error:
        raise InvalidRequestError(f"the replicas do not come up: {_reason(name, error)}") from None


def _reason(name: str, error: Exception) -> str:
    status = serve.status().applications.get(name)
    said = [found.message for found in status.deployments.values()] if status is not None else []
    return reason_of("\n".join([str(error), *said]))
