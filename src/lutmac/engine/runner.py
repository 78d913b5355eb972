"""Runs the program over a batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.kv_cache import pages_for
from lutmac.engine.scheduler import Slice
from lutmac.graph.compile import Compiled
from lutmac.graph.ir import HiddenStates

Rows = NDArray[np.float32]


class Runner:
    """Turns slices into the arrays of a step, and its results into rows for each slice."""

    def __init__(self, compiled: Compiled, cache: _native.Cache, vocab_size: int, threads: int) -> None:
        """vocab_size: logits of a row. threads: of every step; may be set."""
        self.threads = threads
        self.hidden_size = next(op.x.width for op in compiled.graph.ops if isinstance(op, HiddenStates))
        self._program = compiled.program
        self._cache = cache
        self._groups = len(compiled.cache.windows)
        self._logits = np.empty((0, vocab_size), dtype=np.float32)
        self._hidden = np.empty((0, self.hidden_size), dtype=np.float32)

    def run(self, batch: list[Slice]) -> Iterator[Rows]:
        """One step. Yields, for each slice, the rows that its sequence asked for; valid until the next step."""
        sequences = [slice.sequence for slice in batch]
        starts = np.cumsum([0, *(slice.count for slice in batch)], dtype=np.int32)
        wanted = [slice.sequence.output_rows(slice.count) for slice in batch]
        rows = [start + row for start, range in zip(starts.tolist(), wanted, strict=False) for row in range]
        hidden = any(sequence.wants_hidden for sequence in sequences)
        logits = not all(sequence.wants_hidden for sequence in sequences)
        if logits and len(rows) > len(self._logits):
            self._logits = np.empty((len(rows), self._logits.shape[1]), dtype=np.float32)
        if hidden and len(rows) > len(self._hidden):
            self._hidden = np.empty((len(rows), self.hidden_size), dtype=np.float32)
        pieces = [s.sequence.tokens[s.sequence.computed : s.sequence.computed + s.count] for s in batch]
        self._program.step(
            self._cache,
            tokens=pieces[0] if len(pieces) == 1 else np.concatenate(pieces),
            sequence_start=starts,
            first_position=np.array([sequence.computed for sequence in sequences], dtype=np.int32),
            block_tables=[_block_table(batch)] * self._groups,
            output_rows=np.array(rows, dtype=np.int32),
            logits=self._logits[: len(rows)] if logits and rows else None,
            hidden=self._hidden[: len(rows)] if hidden and rows else None,
            threads=self.threads,
        )
        return self._rows(batch, wanted)

    def _rows(self, batch: list[Slice], wanted: list[range]) -> Iterator[Rows]:
        begin = 0
        for slice, range in zip(batch, wanted, strict=True):
            rows = self._hidden if slice.sequence.wants_hidden else self._logits
            yield rows[begin : begin + len(range)]
            begin += len(range)


def _block_table(batch: list[Slice]) -> NDArray[np.int32]:
    """[sequences, pages] int32; what a sequence has no use for is 0."""
    counts = [pages_for(slice.sequence.computed + slice.count) for slice in batch]
    if len(batch) == 1:
        return batch[0].sequence.block_table.pages[None, : counts[0]]
    table = np.zeros((len(batch), max(counts)), dtype=np.int32)
    for line, slice, count in zip(table, batch, counts, strict=True):
        line[:count] = slice.sequence.block_table.pages[:count]
    return table
