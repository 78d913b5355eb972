"""Runs the program over a batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from threading import current_thread, main_thread

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.running.batch import Slice
from lutmac.engine.running.kv_cache import pages_for
from lutmac.engine.running.sequence import GENERATED
from lutmac.engine.running.trace import Trace, traced_operations
from lutmac.graph.compile import Compiled
from lutmac.graph.operations.hidden_states import HiddenStates

Rows = NDArray[np.float32]
PROMPT_TOKENS = 16  # up to which a step waits for memory rather than for arithmetic


class Runner:
    """Turns slices into the arrays of a step, and its results into rows for each slice.

    computing: whether the program runs. A KeyboardInterrupt then leaves everything else as it was.
    threads, prompt_threads: of steps without and with a piece of a prompt.
    """

    def __init__(self, compiled: Compiled, cache: _native.Cache, threads: int) -> None:
        """threads: of every step, till `threads` or `prompt_threads` is set."""
        self.threads = self.prompt_threads = threads
        self.computing = False
        self.hidden_size = next(
            call.op.x.width for call in compiled.schedule.calls if isinstance(call.op, HiddenStates)
        )
        self._program = compiled.program
        self._schedule = compiled.schedule
        self._cache = cache
        self._groups = compiled.cache.groups
        self._logits = np.empty((0, compiled.logits_size), dtype=np.float32)
        self._hidden = np.empty((0, self.hidden_size), dtype=np.float32)

    def run(self, batch: list[Slice]) -> Iterator[Rows]:
        """One step. Yields, for each slice, the rows that its sequence asked for; valid until the next step.

        batch: slices of generated tokens come first.
        """
        starts = [0, *accumulate(slice.count for slice in batch)]
        outputs = _Outputs(batch, starts)
        logits, hidden = outputs.logits, len(outputs.rows) if outputs.hidden else 0
        if logits > len(self._logits):
            self._logits = np.empty((logits, self._logits.shape[1]), dtype=np.float32)
        if hidden > len(self._hidden):
            self._hidden = np.empty((hidden, self.hidden_size), dtype=np.float32)
        pieces = [slice.sequence.tokens[slice.first : slice.end] for slice in batch]
        self.computing = True
        try:
            self._program.step(
                self._cache,
                tokens=pieces[0] if len(pieces) == 1 else np.concatenate(pieces),
                sequence_start=np.array(starts, dtype=np.int32),
                first_position=np.array([slice.first for slice in batch], dtype=np.int32),
                page_tables=self._page_tables(batch),
                output_rows=np.array(outputs.rows, dtype=np.int32),
                logits=self._logits[:logits] if logits else None,
                hidden=self._hidden[:hidden] if hidden else None,
                threads=self.prompt_threads if _reads_a_prompt(batch) else self.threads,
                interruptible=current_thread() is main_thread(),
                generated_rows=sum(slice.count for slice in batch if slice.role == GENERATED),
                token_types=_token_types(batch),
            )
        finally:
            self.computing = False
        return self._rows(batch, outputs)

    def start_trace(self) -> None:
        """Steps are traced from now on."""
        self._program.start_trace()

    def take_trace(self) -> Trace:
        """The steps since start_trace; they are no longer traced."""
        return Trace(traced_operations(self._schedule), self._program.take_trace())

    def _page_tables(self, batch: list[Slice]) -> list[NDArray[np.int32]]:
        """Of each cache group: of pages, or one column of slots."""
        pools = iter(range(len(self._groups)))
        return [_slots(batch) if window is None else _page_table(batch, next(pools)) for window in self._groups]

    def _rows(self, batch: list[Slice], outputs: _Outputs) -> Iterator[Rows]:
        for slice, place in zip(batch, outputs.places, strict=True):
            yield (self._hidden if slice.sequence.wants_hidden else self._logits)[place]


def _reads_a_prompt(batch: list[Slice]) -> bool:
    """Whether a step is bound by arithmetic: one sequence has more tokens in it than a batch that generates."""
    return any(slice.count > PROMPT_TOKENS for slice in batch)


class _Outputs:
    """Which rows of a step are asked for: those that want logits, then those that want hidden states.

    rows: of the batch. logits, hidden: how many of each. places: of each slice among them.
    """

    def __init__(self, batch: list[Slice], starts: list[int]) -> None:
        wanted = [slice.output_rows for slice in batch]
        self.rows: list[int] = []
        self.places = [slice(0)] * len(batch)
        counts = []
        for hidden in (False, True):
            before = len(self.rows)
            for index, rows in enumerate(wanted):
                if batch[index].sequence.wants_hidden == hidden:
                    self.places[index] = slice(len(self.rows), len(self.rows) + len(rows))
                    self.rows += range(starts[index] + rows.start, starts[index] + rows.stop)
            counts.append(len(self.rows) - before)
        self.logits, self.hidden = counts


def _token_types(batch: list[Slice]) -> NDArray[np.int32] | None:
    """Of all tokens of the step; None where all are 0."""
    if all(slice.sequence.types is None for slice in batch):
        return None
    return np.concatenate(
        [np.zeros(s.count, np.int32) if s.sequence.types is None else s.sequence.types[s.first : s.end] for s in batch]
    )


def _slots(batch: list[Slice]) -> NDArray[np.int32]:
    return np.array([[slice.sequence.slot] for slice in batch], dtype=np.int32)


def _page_table(batch: list[Slice], group: int) -> NDArray[np.int32]:
    """[sequences, pages] int32; what a sequence has no use for is 0."""
    counts = [pages_for(slice.end) for slice in batch]
    if len(batch) == 1:
        return batch[0].sequence.page_table.pages(group)[None, : counts[0]]
    table = np.zeros((len(batch), max(counts)), dtype=np.int32)
    for line, slice, count in zip(table, batch, counts, strict=True):
        line[:count] = slice.sequence.page_table.pages(group)[:count]
    return table
