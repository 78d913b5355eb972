"""A server as people run it: the command in a process of its own, spoken to over the network."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import anthropic
import httpx
import openai
import pytest

from tiny_llama import TinyLlama

KEY = "sk-a-key-for-the-tests-0123456789"


@dataclass
class Served:
    """A running `lutmac serve`. lines: what it has written to its error stream."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self, **arguments: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **arguments)  # type: ignore[arg-type]

    def stop(self, patience: float = 20) -> int:
        """Tells it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


def start(*arguments: object, environment: dict[str, str] | None = None) -> Served:
    command = [sys.executable, "-m", "lutmac.cli.main", "serve", *map(str, arguments), "--port", "0", "--log", "json"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    served = Served(process)
    found: Queue[str] = Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            served.lines.append(line)
            if match := re.search(r"at (http://\S+)", line):
                found.put(match[1])
        found.put("")

    Thread(target=read, daemon=True).start()
    try:
        served.url = found.get(timeout=60)
    except Empty:
        process.kill()
    assert served.url, "".join(served.lines)
    return served


@pytest.fixture(scope="session")
def served(smollm2_path: Path) -> Iterator[Served]:
    """The default model, served to all tests."""
    server = start(smollm2_path, "--name", "smollm2", "--name", "an-alias")
    yield server
    assert server.process.poll() is None, "the server died:\n" + "".join(server.lines[-30:])
    server.process.kill()


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
