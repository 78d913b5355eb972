"""What `--ray` brings with it: options about a cluster and its replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutmac.cli.option_groups import OptionGroup
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
class ClusterOptions(OptionGroup):
    """What the command line says about a cluster. replicas: None is one for each node."""

    ray: Ray = False
    ray_address: Address = None
    replicas: Replicas = None

    def check(self) -> None:
        """Raises InvalidRequestError where they contradict each other, or where Ray is wanted and missing."""
        if self.ray:
            from lutmac.cluster.connection import check_ray  # noqa: PLC0415

            check_ray()
        elif self.replicas is not None or self.ray_address is not None:
            raise InvalidRequestError("--replicas and --ray-address go with --ray")


@dataclass(frozen=True)
class ScalingOptions(ClusterOptions):
    """And about how many replicas there are to be, as load demands."""

    min_replicas: MinReplicas = None
    max_replicas: MaxReplicas = None
    scale_at: ScaleAt = 8.0
    scale_up_after: ScaleUpAfter = 10.0
    scale_down_after: ScaleDownAfter = 300.0

    def check(self) -> None:
        """As of ClusterOptions."""
        least, most = self.min_replicas, self.max_replicas
        scaled = least is not None or most is not None
        if scaled and not self.ray:
            raise InvalidRequestError("--min-replicas and --max-replicas go with --ray")
        if scaled and self.replicas is not None:
            raise InvalidRequestError("--replicas is a fixed number; leave it out with --min-replicas, --max-replicas")
        if least is not None and most is not None and least > most:
            raise InvalidRequestError(f"--min-replicas {least} is above --max-replicas {most}")
        if least is not None and most is None:
            raise InvalidRequestError("--min-replicas wants --max-replicas beside it")
        super().check()


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
    path_or_name: str, settings: Settings, options: ScalingOptions, loading: dict[str, Any]
) -> Iterator[FastAPI]:
    """The server's application over replicas, which end with the context. loading: for ``lutmac.load``.

    Raises CheckpointError for a model that is not there, InvalidRequestError where no cluster is reached or no replica
    comes up.
    """
    from lutmac.cluster.connection import connected, share_out  # noqa: PLC0415

    where = place_of(path_or_name)
    arguments = {**loading}
    threads = arguments.pop("threads")
    with connected(options.ray_address), ExitStack() as stack:
        from lutmac.cluster.deploy import Scaling, application_name, deployed  # noqa: PLC0415 - Ray takes seconds
        from lutmac.cluster.replica import ReplicaSpec  # noqa: PLC0415

        shares = share_out(options.max_replicas or options.replicas, threads)
        least = options.min_replicas or (1 if options.max_replicas else shares.replicas)
        scaling = Scaling(least, shares.replicas, options.scale_at, options.scale_up_after, options.scale_down_after)
        limits = replace(settings.limits, stored_bytes=0)  # another replica could not go on from a response
        inner = replace(settings, api_keys=(), hosts=(), origins=(), limits=limits)
        spec = ReplicaSpec(where, shares.threads, arguments, inner)
        with spinner("starting replicas"):
            app = stack.enter_context(deployed(application_name(path_or_name), spec, shares, scaling, settings))
        yield app
