"""`lutmac serve` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Thread

import httpx


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


def start(*arguments: object, environment: dict[str, str] | None = None, patience: float = 60) -> Served:
    """Starts a server on a free port; patience: seconds within which it has to listen."""
    command = [sys.executable, "-m", "lutmac.cli.main", "serve", *map(str, arguments), "--port", "0", "--log", "json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
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
