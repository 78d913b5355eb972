"""The command line as a person meets it: a process with exit code, output and error stream."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from warm_process import COMMANDS, WarmProcesses

Lutmac = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def lutmac() -> Iterator[Lutmac]:
    """Runs one command line to its end."""
    processes = WarmProcesses(COMMANDS)

    def run(*arguments: object, stdin: str = "", timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return processes.run([*map(str, arguments)], stdin, timeout)

    yield run
    processes.close()


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories of chats are the tests' own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
