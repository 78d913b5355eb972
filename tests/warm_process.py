"""Processes of the command line that are there at once: forked from one that has imported everything and done nothing.

A process of its own for each command line, as a person starts it; but Python and its modules, which take longer than
most of what tests do, are loaded once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

COMMANDS = ("lutmac.cli.main", "lutmac.cli.info", "lutmac.cli.run", "lutmac.cli.benchmark", "lutmac.engine.load")
SERVER = ("lutmac.cli.main", "lutmac.cli.serve", "lutmac.server.app", "lutmac.server.run", "lutmac.engine.load")
MESSAGE = 1 << 20


class WarmProcesses:
    """Starts them; to be closed."""

    def __init__(self, modules: Iterable[str]) -> None:
        """modules: that are imported already."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno()), *modules]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def run(self, arguments: list[str], stdin: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Runs one command line to its end. stdin: what comes out of a pipe."""
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._start(arguments, {}, (reading, out.fileno(), err.fileno()))
            os.close(reading)
            with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
                pipe.write(stdin.encode())
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(["lutmac", *arguments], code, *texts)

    def start(self, arguments: list[str], environment: Mapping[str, str]) -> WarmProcess:
        """Starts one command line without input; its error stream comes out of a pipe."""
        reading, writing = os.pipe()
        with open(os.devnull, "r+b") as nothing:
            process = self._start(arguments, environment, (nothing.fileno(), nothing.fileno(), writing))
        os.close(writing)
        process.stderr = os.fdopen(reading)
        return process

    def _start(self, arguments: list[str], environment: Mapping[str, str], streams: tuple[int, ...]) -> WarmProcess:
        mine, theirs = os.pipe()
        request = {"arguments": arguments, "environment": {**os.environ, **environment}, "folder": str(Path.cwd())}
        socket.send_fds(self._socket, [json.dumps(request).encode()], [*streams, theirs])
        os.close(theirs)
        return WarmProcess(mine)


class WarmProcess:
    """One of them, with what tests use of subprocess.Popen."""

    def __init__(self, status: int) -> None:
        """status: a pipe with the process's number, and its exit code when it has ended."""
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None
        self.stderr = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("lutmac", timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def serve(channel: socket.socket) -> None:
    """Forks for each request; ends with the other side."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for the processes end by themselves
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE, 4)
        if not message:
            return
        if os.fork() == 0:
            channel.close()
            wait_for_process(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def wait_for_process(request: dict[str, object], descriptors: list[int]) -> None:
    """Forks once more, and tells the process's number and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, status = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(status)
        become(request, streams)
    for stream in {*streams, 0, 1, 2}:
        os.close(stream)
    os.write(status, f"{pid}\n".encode())
    _, ended = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


def become(request: dict[str, object], streams: list[int]) -> None:
    """Goes on as the command line that was asked for, to the end of the process."""
    from lutmac.cli.main import main  # noqa: PLC0415 (loaded already)

    for place, stream in enumerate(streams):
        os.dup2(stream, place)
    for stream in {*streams} - {0, 1, 2}:
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    os.chdir(str(request["folder"]))
    sys.argv = ["lutmac", *request["arguments"]]  # type: ignore[misc]
    main()


if __name__ == "__main__":
    sys.path.pop(0)  # as where Python runs a module: this folder is not on its path
    for name in sys.argv[2:]:
        __import__(name)
    tasks = Path("/proc/self/task")
    assert not tasks.is_dir() or len(list(tasks.iterdir())) == 1, "a module has started a thread, which no fork has"
    serve(socket.socket(fileno=int(sys.argv[1])))
