"""A Ray cluster of several nodes on this machine, and servers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from serving import Served, start_cold

STARTING_SECONDS = 180


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A head without cores, and two nodes with one each."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    found.wait_for_nodes()
    yield found
    found.shutdown()


ServeReplicas = Callable[..., Served]


@pytest.fixture
def serve_replicas(cluster: Cluster, smollm2_path: Path) -> Iterator[ServeReplicas]:
    """Starts servers of the default model on the cluster; they end with the test."""
    servers: list[Served] = []

    def run(*arguments: object) -> Served:
        place = ("--ray", "--ray-address", cluster.address, "--drain", 5, "--name", "smollm2")
        servers.append(start_cold(smollm2_path, *place, *arguments, patience=STARTING_SECONDS))
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.stop(60)
