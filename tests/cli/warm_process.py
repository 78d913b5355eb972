"""Processes of the command line that are there at once: forked from one that has imported everything and done nothing.

A process of its own for each command line, as a person starts it; but Python and its modules, which take longer than
most of these commands do, are loaded once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

MODULES = ["lutmac.cli.main", "lutmac.cli.info", "lutmac.cli.run", "lutmac.cli.benchmark", "lutmac.engine.load"]
MESSAGE = 1 << 20


class WarmProcesses:
    """Starts them; to be closed."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def run(self, arguments: list[str], stdin: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Runs one command line to its end. stdin: what comes out of a pipe."""
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            request = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
            socket.send_fds(self._socket, [json.dumps(request).encode()], [reading, out.fileno(), err.fileno()])
            os.close(reading)
            with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
                pipe.write(stdin.encode())
            self._socket.settimeout(timeout)
            code = int(self._socket.recv(MESSAGE))
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(["lutmac", *arguments], code, *texts)


def serve(channel: socket.socket) -> None:
    """Forks for each request, one at a time; ends with the other side."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE, 3)
        if not message:
            return
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            channel.close()
            become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        channel.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(request: dict[str, object], descriptors: list[int]) -> None:
    """Goes on as the command line that was asked for, to the end of the process."""
    from lutmac.cli.main import main  # noqa: PLC0415 (loaded already)

    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    os.chdir(str(request["folder"]))
    sys.argv = ["lutmac", *request["arguments"]]  # type: ignore[misc]
    main()


if __name__ == "__main__":
    sys.path.pop(0)  # as where Python runs a module: this folder is not on its path
    for name in MODULES:
        __import__(name)
    serve(socket.socket(fileno=int(sys.argv[1])))
