"""What `--ray` brings with it: options about a cluster and its replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutmac.cli.output import spinner
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from lutmac.server.settings import Settings

Ray = Annotated[bool, typer.Option("--ray", help="Replicas on a Ray cluster (extra `ray`).")]
Address = Annotated[
    str | None,
    typer.Option("--ray-address", help="Of the cluster; default: $RAY_ADDRESS, else this machine's, else a new one."),
]
Replicas = Annotated[int | None, typer.Option("--replicas", min=1, help="So many, always; default: one for each node.")]
MinReplicas = Annotated[int | None, typer.Option("--min-replicas", min=1, help="At least so many, as load demands.")]
MaxReplicas = Annotated[int | None, typer.Option("--max-replicas", min=1, help="At most so many, as load demands.")]
ScaleAt = Annotated[
    float, typer.Option("--scale-at", min=0.1, help="Requests of each replica above which one is added.")
]
ScaleUpAfter = Annotated[
    float, typer.Option("--scale-up-after", min=0, help="Seconds of more load before a replica is added.")
]
ScaleDownAfter = Annotated[
    float, typer.Option("--scale-down-after", min=0, help="Seconds of less load before one is taken away.")
]


@dataclass(frozen=True)
class ReplicaOptions:
    """What the command line says about replicas."""

    address: str | None
    replicas: int | None
    minimum: int | None = None
    maximum: int | None = None
    scale_at: float = 8.0
    up_after: float = 10.0
    down_after: float = 300.0

    def check(self, *, ray: bool) -> None:
        """Raises InvalidRequestError where they contradict each other, or where Ray is wanted and missing."""
        scaled = self.minimum is not None or self.maximum is not None
        if not ray:
            if scaled or self.replicas is not None or self.address is not None:
                raise InvalidRequestError("--replicas, --min-replicas, --max-replicas and --ray-address go with --ray")
            return
        if scaled and self.replicas is not None:
            raise InvalidRequestError("--replicas is a fixed number; leave it out with --min-replicas, --max-replicas")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise InvalidRequestError(f"--min-replicas {self.minimum} is above --max-replicas {self.maximum}")
        if self.minimum is not None and self.maximum is None:
            raise InvalidRequestError("--min-replicas wants --max-replicas beside it")
        from lutmac.cluster.connection import check_ray  # noqa: PLC0415

        check_ray()


def place_of(path_or_name: str) -> str:
    """A model's path or name for replicas, which run in other directories.

    Raises CheckpointError or UnsupportedModelError for one that is not there or cannot be read: before anything runs.
    """
    from lutmac.engine.loading.opened import open_model  # noqa: PLC0415
    from lutmac.engine.loading.resolve import resolve  # noqa: PLC0415

    with open_model(resolve(path_or_name)):
        pass
    return str(Path(path_or_name).absolute()) if Path(path_or_name).exists() else path_or_name


@contextmanager
def replicated(
    path_or_name: str, settings: Settings, options: ReplicaOptions, threads: int | None, arguments: dict[str, Any]
) -> Iterator[FastAPI]:
    """The server's application over replicas, which end with the context.

    Raises CheckpointError for a model that is not there, InvalidRequestError where no cluster is reached or no replica
    comes up.
    """
    from lutmac.cluster.connection import connected, share_out  # noqa: PLC0415

    where = place_of(path_or_name)
    with connected(options.address), ExitStack() as stack:
        from lutmac.cluster.deploy import Scaling, application_name, deployed  # noqa: PLC0415 - Ray takes seconds
        from lutmac.cluster.replica import ReplicaSpec  # noqa: PLC0415

        shares = share_out(options.maximum or options.replicas, threads)
        least = options.minimum or (1 if options.maximum else shares.replicas)
        scaling = Scaling(least, shares.replicas, options.scale_at, options.up_after, options.down_after)
        limits = replace(settings.limits, stored_bytes=0)  # another replica could not go on from a response
        inner = replace(settings, api_keys=(), hosts=(), origins=(), limits=limits)
        spec = ReplicaSpec(where, shares.threads, arguments, inner)
        with spinner("starting replicas"):
            app = stack.enter_context(deployed(application_name(path_or_name), spec, shares, scaling, settings))
        yield app
