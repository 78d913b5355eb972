"""What commands print with: JSON, aligned tables, sizes, and progress bars on the terminal's error stream."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Work that ends sooner shows no bar, and does not pay for importing one.
BAR_DELAY_SECONDS = 0.5


def print_json(value: object) -> None:
    """One JSON object on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Aligned columns on stdout: the first `left` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def format_bytes(count: float) -> str:
    """97_800_000 to "97.8 MB" (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def process_age() -> float:
    """Seconds since the operating system started this process, so that the interpreter's start is counted in."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), the 20th after the name
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class ProgressBar:
    """A progress bar on stderr that appears only on a terminal, and only for work that takes a while.

    Call it with (done, total, what): it is the callback that lutmac's long operations take.
    """

    def __init__(self, *, shown: bool = True, what: str | None = None) -> None:
        """shown: False for a bar that never appears, as under --json.

        what: work that may take a while before it is first told of; the bar then appears by itself.
        """
        self._shown = shown and sys.stderr.isatty()
        self._begin = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._lock = threading.Lock()
        self._timer = None
        if self._shown and what is not None:
            self._timer = threading.Timer(BAR_DELAY_SECONDS, self._appear, (what,))
            self._timer.daemon = True
            self._timer.start()

    def __enter__(self) -> Self:
        """The bar itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the bar from the terminal."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._shown = False
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows `done` of `total` parts of `what`; a new `what` takes the place of the one before."""
        if not self._shown or (self._bar is None and time.monotonic() - self._begin < BAR_DELAY_SECONDS):
            return
        with self._lock:
            if self._bar is None:
                self._start(what, total)
            elif what != self._what:
                self._bar.reset(self._task, description=what)
            self._what = what
            self._bar.update(self._task, completed=done, total=total)

    def _appear(self, what: str) -> None:
        with self._lock:
            if self._shown and self._bar is None:
                self._start(what, None)

    def _start(self, what: str, total: int | None) -> None:
        self._bar, self._what = _start_bar(), what
        self._task = self._bar.add_task(what, total=total)


def _start_bar() -> Any:
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that most runs never need
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.start()
    return bar


@contextmanager
def spinner(what: str, *, shown: bool = True) -> Iterator[None]:
    """For work that does not say how far it is: the same as a ProgressBar, without a number."""
    if not (shown and sys.stderr.isatty()):
        yield
        return
    started: list[Any] = []
    timer = threading.Timer(BAR_DELAY_SECONDS, lambda: started.append(_start_spinner(what)))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for status in started:
            status.stop()


def _start_spinner(what: str) -> Any:
    from rich.console import Console  # noqa: PLC0415 - as above

    status = Console(stderr=True).status(what)
    status.start()
    return status
