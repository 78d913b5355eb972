"""A process behind a pseudo-terminal, typed at and read from as a person would."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import time
from types import TracebackType
from typing import Self

COMMAND = [sys.executable, "-m", "lutmac.cli.main"]
CTRL_C, CTRL_D = "\x03", "\x04"


def hear_ctrl_c() -> None:
    """For a child before it runs its command: tests in the background may ignore Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Runs a command; `screen` is all that it has written so far."""

    def __init__(self, command: list[str]) -> None:
        self.screen = ""
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            hear_ctrl_c()
            os.execvp(command[0], command)
        self._exit_code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exit_code is None:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        os.close(self._master)

    def type(self, text: str) -> None:
        """Types text; a line ends with "\\r"."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, *, after: int = 0, timeout: float = 120) -> int:
        """Waits until the text stands on the screen behind place `after`; returns the place behind it."""
        end = time.monotonic() + timeout
        while text not in self.screen[after:]:
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"no {text!r} behind place {after} of {self.screen!r}")
        return self.screen.index(text, after) + len(text)

    def press_until(self, key: str, text: str, *, presses: int = 60) -> int:
        """Presses a key, once a second, until the text stands behind what is on the screen now; returns its end."""
        place = len(self.screen)
        for _ in range(presses):
            self.type(key)
            with contextlib.suppress(TimeoutError):
                return self.wait_for(text, after=place, timeout=1)
        raise AssertionError(f"no {text!r} behind place {place} of {self.screen!r}")

    def wait_for_more(self, after: int, *, timeout: float = 120) -> None:
        """Waits until more than `after` characters stand on the screen."""
        end = time.monotonic() + timeout
        while len(self.screen) <= after:
            assert self._read(end - time.monotonic()), "nothing more was written"

    def exit_code(self, *, timeout: float = 60) -> int:
        """Waits for the end of the process."""
        end = time.monotonic() + timeout
        while self._read(end - time.monotonic()):
            pass
        _, status = os.waitpid(self._pid, 0)
        self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code

    def _read(self, timeout: float) -> bool:
        """Reads what has been written; False at the end of the process's output."""
        if timeout <= 0 or not select.select([self._master], [], [], timeout)[0]:
            raise TimeoutError(f"waited in vain; the screen is {self.screen!r}")
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux reports that the other side is closed
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)
