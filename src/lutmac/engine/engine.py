"""The engine: one step at a time through schedule, run, postprocess, for however many callers there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Condition
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.kv_cache import PageManager, pages_for
from lutmac.engine.scheduler import Scheduler, Slice
from lutmac.engine.sequence import Sequence
from lutmac.engine.stats import EngineStats
from lutmac.errors import ContextOverflowError
from lutmac.graph.compile import Compiled

LOGITS_BYTES = 128 << 20  # of one step, at most
FULL_SEQUENCES = 8  # sequences of full length that the cache has room for; its memory is taken as it is written


class Engine:
    """Runs sequences through a compiled program.

    Safe to use from several threads: one of those that wait in ``drive`` runs the next step, for every sequence that
    can run. Only that thread touches the schedule and the pages; requests reach it through the inbox.
    """

    def __init__(self, compiled: Compiled, *, vocab_size: int, threads: int) -> None:
        """Makes the program's key-value cache. vocab_size: logits of a row. threads: of every step."""
        limits, layout = compiled.limits, compiled.cache
        self.vocab_size = vocab_size
        self.threads = threads
        self.max_context = limits.max_context
        self._program = compiled.program
        pages = [pages_for(limits.max_context) * FULL_SEQUENCES] * len(layout.windows)
        self._cache = _native.Cache(
            num_pages=pages,
            layer_groups=list(layout.layer_groups),
            layer_page_bytes=list(layout.layer_page_bytes),
        )
        self._pages = PageManager(pages)
        self._pages_total = min(pages)
        rows = max(limits.max_sequences, min(limits.max_tokens, LOGITS_BYTES // (4 * vocab_size)))
        self._scheduler = Scheduler(limits.max_tokens, limits.max_sequences, rows)
        self._logits = np.empty((0, vocab_size), dtype=np.float32)
        self._parked: WeakSet[Sequence] = WeakSet()
        self._inbox: deque[tuple[str, Sequence]] = deque()
        self._turn = Condition()
        self._stepping = False

    @property
    def cache_bytes(self) -> int:
        """Address space of the key-value cache; memory stands behind what has been written of it."""
        return self._cache.nbytes

    def new_sequence(self, tokens: Iterable[int], max_length: int) -> Sequence:
        """A sequence that has yet to be submitted. Raises ContextOverflowError where max_length exceeds the context."""
        if max_length > self.max_context:
            raise ContextOverflowError(f"{max_length} tokens do not fit into the context of {self.max_context}")
        return Sequence(tokens, max_length, self._pages.num_groups)

    def submit(self, sequence: Sequence) -> None:
        """Queues a sequence; it runs in the steps that callers of ``drive`` make."""
        self._inbox.append(("submit", sequence))

    def stop(self, sequence: Sequence) -> None:
        """Ends a sequence, whatever it does; its pages are free again unless it keeps them. Never blocks."""
        self._inbox.append(("stop", sequence))

    def drive(self, sequence: Sequence, length: int) -> None:
        """Steps until the sequence has more than ``length`` tokens or is finished; raises what made it fail."""
        while sequence.length <= length and not sequence.finished:
            self.turn()
        if sequence.error is not None:
            raise sequence.error

    def turn(self) -> None:
        """Runs a step, or waits for the end of the one that another thread is running."""
        with self._turn:
            if self._stepping:
                self._turn.wait()  # whoever steps wakes all when the step is done
                return
            self._stepping = True
        try:
            self.step()
        finally:
            with self._turn:
                self._stepping = False
                self._turn.notify_all()

    def fail(self, sequence: Sequence, error: Exception) -> None:
        """Ends a sequence that has not ended yet; whoever waits for it is to raise the error. Never blocks."""
        if not sequence.finished:
            sequence.fail(error)
        self.stop(sequence)

    @property
    def has_requests(self) -> bool:
        """Whether the next step has something to take note of."""
        return bool(self._inbox)

    @property
    def max_sequences(self) -> int:
        """How many sequences run at a time; more wait."""
        return self._scheduler.max_sequences

    def stats(self) -> EngineStats:
        """Figures of now; from any thread, at once."""
        total = self._pages_total
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            pages_total=total,
            pages_free=self._pages.available,
            prompt_tokens=0,
            prefix_hit_tokens=0,
            generated_tokens=0,
            preemptions=0,
            batch_size=0,
            step_seconds=0.0,
        )

    def available_pages(self) -> int:
        """Pages of each cache group that no sequence holds, once what is in the inbox is seen to."""
        with self._turn:
            self._turn.wait_for(lambda: not self._stepping)
            self._read_inbox()
            return self._pages.available

    def step(self) -> None:
        """Runs one batch. One thread at a time: ``drive`` sees to it."""
        self._read_inbox()
        self._scheduler.admit(self._gets_pages)
        batch = self._scheduler.next_batch()
        if batch:
            try:
                logits = self._run(batch)
            except Exception as error:
                for slice in batch:
                    slice.sequence.fail(error)
                    self._end(slice.sequence)
                return
            self._postprocess(batch, logits)

    def _read_inbox(self) -> None:
        while self._inbox:
            request, sequence = self._inbox.popleft()
            if request == "submit":
                self._scheduler.add(sequence)
            else:
                self._end(sequence)

    def _end(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        if sequence.keeps_pages:
            self._parked.add(sequence)
        else:
            self._take_pages(sequence)

    def _gets_pages(self, sequence: Sequence) -> bool:
        """Gives a sequence all pages that it may come to need, so that it never waits once it runs."""
        if sequence.parent is not None:
            self._parked.discard(sequence.parent)
            sequence.take_over_parent()
        while sequence.pages_wanted > self._pages.available and self._parked:
            self._take_pages(self._parked.pop())
        if sequence.pages_wanted > self._pages.available:
            return False
        for owned, new in zip(sequence.pages, self._pages.allocate(sequence.pages_wanted), strict=True):
            owned.extend(new)
        return True

    def _take_pages(self, sequence: Sequence) -> None:
        self._parked.discard(sequence)
        sequence.computed = 0
        self._pages.free(sequence.pages)

    def _run(self, batch: list[Slice]) -> NDArray[np.float32]:
        """One step of the program: [rows, vocab] logits, valid until the next step."""
        starts = np.cumsum([0, *(slice.count for slice in batch)], dtype=np.int32)
        rows = [
            start + row
            for slice, start in zip(batch, starts.tolist(), strict=False)
            for row in slice.sequence.output_rows(slice.count)
        ]
        if len(rows) > len(self._logits):
            self._logits = np.empty((len(rows), self.vocab_size), dtype=np.float32)
        logits = self._logits[: len(rows)]
        self._program.step(
            self._cache,
            tokens=np.concatenate([s.sequence.tokens[s.sequence.computed :][: s.count] for s in batch]),
            sequence_start=starts,
            first_position=np.array([slice.sequence.computed for slice in batch], dtype=np.int32),
            block_tables=[self._block_table(batch, group) for group in range(self._pages.num_groups)],
            output_rows=np.array(rows, dtype=np.int32),
            logits=logits if rows else None,
            threads=self.threads,
        )
        return logits

    def _block_table(self, batch: list[Slice], group: int) -> NDArray[np.int32]:
        tables = [s.sequence.pages[group][: pages_for(s.sequence.computed + s.count)] for s in batch]
        width = max(len(table) for table in tables)
        return np.array([table + [0] * (width - len(table)) for table in tables], dtype=np.int32)

    def _postprocess(self, batch: list[Slice], logits: NDArray[np.float32]) -> None:
        row = 0
        for slice in batch:
            sequence = slice.sequence
            rows = len(sequence.output_rows(slice.count))
            try:
                sequence.advance(slice.count, logits[row : row + rows])
            except Exception as error:
                sequence.fail(error)
            row += rows
            if sequence.finished:
                self._end(sequence)
