"""`lutmac serve` with the model, for as long as the clients run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

MODEL_NAME = "qwen2.5-coder-0.5b"


class LocalServer:
    """A server on a free port. url: where it is. context: positions of a sequence."""

    def __init__(self, model: Path, log: Path, context: int = 8192) -> None:
        """log: what the server prints goes there."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.context = context
        self._log = log
        self._command = [
            sys.executable, "-m", "lutmac.cli.main", "serve", str(model), "--port", str(port), "--name", MODEL_NAME,
            "--context", str(context),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        """Starts the server and waits until it is ready."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(600):
            if self._answers():
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        self._process.kill()
        raise RuntimeError(f"lutmac serve did not start: {self.log()}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Ends the server."""
        self._process.terminate()
        self._process.wait(60)

    def is_alive(self) -> bool:
        """Whether the server still answers."""
        return self._process.poll() is None and self._answers()

    def log(self) -> str:
        """The last that it printed."""
        return self._log.read_text()[-4000:]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/models", timeout=5) as reply:
                return bool(json.load(reply)["data"])
        except OSError:
            return False
