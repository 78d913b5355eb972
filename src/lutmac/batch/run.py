"""Answers a batch: from its input file to its output file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lutmac.batch.output import BatchOutput, Entry, refusal_entry
from lutmac.batch.requests import BatchRequest, Refusal, count_lines, read_requests
from lutmac.errors import InvalidRequestError

# Answers requests in any order: each list holds entries for the output as soon as there are some.
Answer = Callable[[Iterator[BatchRequest]], Iterable[list[Entry]]]
Progress = Callable[[int, int, str], None]


@dataclass
class Tally:
    """Lines of the input. earlier: had been answered by an earlier run. answered: with a status below 400."""

    total: int = 0
    earlier: int = 0
    answered: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Lines that are in the output."""
        return self.earlier + self.answered + self.refused


def run_batch(source: Path, destination: Path, answer: Answer, progress: Progress | None = None) -> Tally:
    """Answers every line of the source that the destination does not answer yet, and appends to it.

    A line counts as answered when it is on the disk, so that a process that is killed loses none and the next one
    repeats none. progress: called with (lines done, lines in all, what). Raises InvalidRequestError for files that do
    not do, and whatever ``answer`` raises.
    """
    if destination.exists() and source.exists() and destination.samefile(source):
        raise InvalidRequestError(f"{source}: the replies cannot go into the file of the requests")
    tally = Tally(total=count_lines(source))
    with closing(BatchOutput(destination)) as output:
        report = _Report(output, tally, progress)
        pending = _pending(source, output, report)
        first = next(pending, None)  # answering loads a model, which takes seconds
        if first is not None:
            for entries in answer(chain([first], pending)):
                report.write(entries)
    return tally


class _Report:
    """Where entries go: onto the disk, into the tally, and to whoever watches."""

    def __init__(self, output: BatchOutput, tally: Tally, progress: Progress | None) -> None:
        self._output = output
        self._tally = tally
        self._progress = progress

    def skip(self) -> None:
        self._tally.earlier += 1

    def write(self, entries: list[Entry]) -> None:
        for entry in self._output.append(entries):
            if entry["response"] is not None and entry["response"]["status_code"] < 400:
                self._tally.answered += 1
            else:
                self._tally.refused += 1
        if self._progress is not None:
            self._progress(self._tally.done, self._tally.total, "requests")


def _pending(source: Path, output: BatchOutput, report: _Report) -> Iterator[BatchRequest]:
    """The requests that are still to be answered; lines that cannot be run are answered on the way."""
    earlier = frozenset(output.done)
    for line in read_requests(source):
        if line.id in earlier:
            report.skip()
        elif isinstance(line, Refusal):
            report.write([refusal_entry(line)])
        else:
            yield line
