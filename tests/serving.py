"""`lutmac serve` as a process of its own."""

from __future__ import annotations

import atexit
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from queue import Empty, Queue
from threading import Thread

import httpx

from warm_process import SERVER, WarmProcess, WarmProcesses


@dataclass
class Served:
    """A running `lutmac serve`. lines: what it has written to its error stream."""

    process: WarmProcess | subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self, **arguments: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **arguments)  # type: ignore[arg-type]

    def stop(self, patience: float = 20) -> int:
        """Tells it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


@cache
def _processes() -> WarmProcesses:
    processes = WarmProcesses(SERVER)
    atexit.register(processes.close)
    return processes


def start(*arguments: object, environment: dict[str, str] | None = None, patience: float = 60) -> Served:
    """Starts a server on a free port; patience: seconds within which it has to listen."""
    return _listening(_processes().start([*_words(arguments)], environment or {}), patience)


def start_cold(*arguments: object, patience: float) -> Served:
    """The same from Python's start on: for a server that starts further processes by its own command, as Ray does."""
    command = [sys.executable, "-m", "lutmac.cli.main", *_words(arguments)]
    return _listening(subprocess.Popen(command, stderr=subprocess.PIPE, text=True), patience)


def _words(arguments: Iterable[object]) -> Iterator[str]:
    yield from ("serve", *map(str, arguments), "--port", "0", "--log", "json")


def _listening(process: WarmProcess | subprocess.Popen[str], patience: float) -> Served:
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
        served.url = found.get(timeout=patience)
    except Empty:
        process.kill()
    assert served.url, "".join(served.lines)
    return served
