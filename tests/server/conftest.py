"""A server as people run it: the command in a process of its own, spoken to over the network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest

from serving import Served, start
from tiny_llama import TinyLlama


@pytest.fixture(scope="session")
def served(smollm2_path: Path) -> Iterator[Served]:
    """The default model, served to all tests."""
    server = start(smollm2_path, "--name", "smollm2", "--name", "an-alias")
    yield server
    assert server.process.poll() is None, "the server died:\n" + "".join(server.lines[-30:])
    server.process.kill()


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Takes back what `set_up_logging` does in the process of the tests: its handler writes to a captured stream."""
    loggers = [logging.getLogger(name) for name in ("lutmac.server", "uvicorn.error")]
    known = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in known:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture(scope="session")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def claude(served: Served) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0)


Serve = Callable[..., Served]


@pytest.fixture
def serve(tiny: TinyLlama) -> Iterator[Serve]:
    """Starts servers of a tiny model; they end with the test."""
    yield from _servers(tiny.path)


@pytest.fixture
def serve_real(smollm2_path: Path) -> Iterator[Serve]:
    """Starts servers of the default model; they end with the test."""
    yield from _servers(smollm2_path)


def _servers(model: Path) -> Iterator[Serve]:
    servers: list[Served] = []

    def run(*arguments: object, environment: dict[str, str] | None = None) -> Served:
        servers.append(start(model, *arguments, environment=environment))
        return servers[-1]

    yield run
    for server in servers:
        server.process.kill()
        server.process.wait()
