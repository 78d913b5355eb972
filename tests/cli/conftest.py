"""The command line as a person meets it: a process with exit code, output and error stream."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from terminal import COMMAND

Lutmac = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def lutmac() -> Lutmac:
    """Runs one command line to its end."""

    def run(*arguments: object, stdin: str = "", timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories of chats are the tests' own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
