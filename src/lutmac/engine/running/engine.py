"""The engine: one step at a time through schedule, run, postprocess, for however many callers there are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from threading import Condition
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.core_queue import CoreUser
from lutmac.engine.running.batch import Slice
from lutmac.engine.running.kv_cache import PageManager
from lutmac.engine.running.memory import cache_needs, divide_memory, least_bytes
from lutmac.engine.running.pace import Pace
from lutmac.engine.running.residency import Residency
from lutmac.engine.running.runner import Runner
from lutmac.engine.running.scheduler import Scheduler
from lutmac.engine.running.sequence import GENERATED, Sequence, roles_of
from lutmac.engine.running.snapshots import SlotPool
from lutmac.engine.running.stats import Counters, EngineStats
from lutmac.engine.running.trace import Trace
from lutmac.errors import ContextOverflowError, InvalidRequestError
from lutmac.graph.compile import Compiled

LOGITS_BYTES = 128 << 20  # of one step, at most


class Engine:
    """Runs sequences through a compiled program.

    Safe to use from several threads: one of those that wait in ``drive`` or ``step_or_wait`` runs the next step, for
    every sequence that can run. Only that thread touches the schedule and the pages; requests reach it through the
    inbox.

    expects_company: whether steps stay short while nobody else runs yet, for the sake of those who may come. by_role:
    whether tokens of prompts have another arithmetic than those that are generated.
    """

    def __init__(
        self, compiled: Compiled, *, vocab_size: int, threads: int, kv_cache_memory: int | None = None
    ) -> None:
        """Makes the program's key-value cache. vocab_size: token ids are below it. threads: of every step.

        kv_cache_memory: bytes of keys and values; default, what `divide_memory` finds. Raises InvalidRequestError where
        one sequence of full length does not fit.
        """
        limits, layout = compiled.limits, compiled.cache
        self.vocab_size = vocab_size
        self.logits_size = compiled.logits_size
        self.reads_whole_texts = compiled.reads_whole_texts
        self.step_tokens = limits.step_tokens or limits.max_tokens
        self.max_context = limits.max_context
        self.expects_company = False
        self.by_role = compiled.by_role
        needs = cache_needs(layout, limits)
        counts = divide_memory(needs, kv_cache_memory)
        cache = _native.Cache(
            num_pages=counts, state_groups=list(layout.state_groups), state_page_bytes=list(layout.state_bytes)
        )
        self.cache_bytes = cache.nbytes  # of address space; memory stands behind what has been written of it
        # Of one sequence of full length.
        self.sequence_cache_bytes = least_bytes(needs)
        pages = [group for group, window in enumerate(layout.groups) if window is not None]
        self._windows = tuple(layout.groups[group] or 0 for group in pages)
        self._counters = Counters()
        manager = PageManager([counts[group] for group in pages], self._windows)
        slots = None
        if None in layout.groups:
            group = layout.groups.index(None)
            slots = SlotPool(counts[group], manager.tree, partial(cache.copy_page, group))
        self.slot_bytes = 0 if slots is None else layout.group_bytes(group)
        self.num_slots = 0 if slots is None else slots.num_slots
        self._residency = Residency(manager, slots, self._counters, _PageCopier(cache, pages))
        rows = max(limits.max_sequences, min(limits.max_tokens, LOGITS_BYTES // (4 * max(1, self.logits_size))))
        self._scheduler = Scheduler(self.step_tokens, limits.max_sequences, rows)
        self._runner = Runner(compiled, cache, threads)
        self._pace = Pace(by_role=self.by_role)
        self._cores = CoreUser()
        self._inbox: deque[tuple[str, Sequence]] = deque()
        self._stepped = Condition()
        self._stepping = False

    @property
    def threads(self) -> int:
        """Threads of the steps to come; may be set, for steps with prompts, too."""
        return self._runner.threads

    @threads.setter
    def threads(self, count: int) -> None:
        self._runner.threads = self._runner.prompt_threads = count

    @property
    def prompt_threads(self) -> int:
        """Threads of the steps to come that read a piece of a prompt; may be set."""
        return self._runner.prompt_threads

    @prompt_threads.setter
    def prompt_threads(self, count: int) -> None:
        self._runner.prompt_threads = count

    @property
    def may_be_interrupted(self) -> bool:
        """Whether a KeyboardInterrupt raised right now, by a handler of the main thread, leaves the engine consistent.

        It does while the program runs: the step is then made again. Anywhere else it could cut the bookkeeping short.
        """
        return self._runner.computing

    @property
    def hidden_size(self) -> int:
        """Width of a final hidden state."""
        return self._runner.hidden_size

    def start_trace(self) -> None:
        """What the threads of each step do is written down from now on. To be called while no step runs."""
        self._runner.start_trace()

    def take_trace(self) -> Trace:
        """What was written down since start_trace, which ends with it."""
        return self._runner.take_trace()

    @property
    def max_sequences(self) -> int:
        """How many sequences run at a time; more wait."""
        return self._scheduler.max_sequences

    def new_sequence(
        self,
        tokens: Iterable[int],
        max_length: int,
        *,
        private: bool = False,
        reply_spans: Iterable[tuple[int, int]] = (),
    ) -> Sequence:
        """A sequence that has yet to be submitted. Raises ContextOverflowError where max_length exceeds the context.

        Raises InvalidRequestError where the model reads whole texts.

        private: it takes nothing from the prefix cache and leaves nothing there. reply_spans: spans [begin, end) of the
        tokens that are of earlier replies, and so are computed as generated ones; the others are of a prompt.
        """
        self.check_generates()
        return self._new_sequence(tokens, max_length, private=private, reply_spans=reply_spans)

    def check_generates(self) -> None:
        """Raises InvalidRequestError for a model whose tokens see what follows them."""
        if self.reads_whole_texts:
            raise InvalidRequestError("this model makes vectors of texts and generates none; ask it for embeddings")

    def new_text(
        self, tokens: Iterable[int], length: int, *, private: bool, types: Iterable[int] | None = None
    ) -> Sequence:
        """A text that has yet to be submitted: nothing is generated at its end. The caller sets its sink.

        types: of the tokens, for pairs of texts. Raises ContextOverflowError.
        """
        sequence = self._new_sequence(tokens, length, private=private or self.reads_whole_texts)
        sequence.whole = self.reads_whole_texts
        sequence.types = None if types is None else np.fromiter(types, dtype=np.int32)
        return sequence

    def _new_sequence(
        self,
        tokens: Iterable[int],
        max_length: int,
        *,
        private: bool = False,
        reply_spans: Iterable[tuple[int, int]] = (),
    ) -> Sequence:
        given = np.fromiter(tokens, dtype=np.int32)
        roles = roles_of(len(given), reply_spans) if self.by_role else None
        if max_length > self.max_context:
            raise ContextOverflowError(f"{max_length} tokens do not fit into the context of {self.max_context}")
        return Sequence(given, max_length, windows=self._windows, private=private, roles=roles)

    def submit(self, sequence: Sequence) -> None:
        """Queues a sequence; it runs in the steps that callers of ``drive`` and ``step_or_wait`` make."""
        self._inbox.append(("submit", sequence))

    def stop(self, sequence: Sequence) -> None:
        """Ends a sequence, whatever it does. Never blocks."""
        self._inbox.append(("stop", sequence))

    def fail(self, sequence: Sequence, error: Exception) -> None:
        """Ends a sequence that has not ended yet; whoever waits for it is to raise the error. Never blocks."""
        if not sequence.finished:
            sequence.fail(error)
        self.stop(sequence)

    @property
    def has_requests(self) -> bool:
        """Whether the next step has something to take note of."""
        return bool(self._inbox)

    def drive(self, sequence: Sequence, length: int) -> None:
        """Steps until the sequence has more than ``length`` tokens or is finished; raises what made it fail."""
        while sequence.length <= length and not sequence.finished:
            self.step_or_wait()
        if sequence.error is not None:
            raise sequence.error

    def step_or_wait(self) -> None:
        """Runs a step, or waits for the end of the one that another thread is running."""
        with self._stepped:
            if self._stepping:
                self._stepped.wait()  # whoever steps wakes all when the step is done
                return
            self._stepping = True
        try:
            with self._cores.all_cores() as time:
                self.step()
                running = self._scheduler.running
                # Of several engines each has as much time as it has clients.
                time.clients, time.is_back = len({sequence.share.client for sequence in running}), bool(running)
        finally:
            with self._stepped:
                self._stepping = False
                self._stepped.notify_all()

    def available_pages(self) -> int:
        """Pages that no sequence holds, of the group with the fewest, once what is in the inbox is seen to."""
        with self._stepped:
            self._stepped.wait_for(lambda: not self._stepping)
            self._read_inbox()
            pool = self._residency.pages.tightest
            return 0 if pool is None else pool.available

    def stats(self) -> EngineStats:
        """Figures of now; from any thread, at once."""
        pool, slots = self._residency.pages.tightest, self._residency.slots
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting) + sum(request == "submit" for request, _ in tuple(self._inbox)),
            pages_total=0 if pool is None else pool.num_pages,
            pages_free=0 if pool is None else pool.available,
            slots_total=self.num_slots,
            slots_used=0 if slots is None else slots.num_slots - slots.available,
            snapshots=0 if slots is None else slots.snapshots,
            snapshot_bytes=self.slot_bytes,
            **vars(self._counters),
        )

    def step(self) -> None:
        """Runs one batch. One thread at a time: ``drive`` and ``step_or_wait`` see to it."""
        self._read_inbox()
        self._leave_broken_step()
        batch = self._schedule()
        if batch:
            began = perf_counter()
            for slice in batch:
                slice.sequence.underway = True
            try:
                rows = self._runner.run(batch)
            except Exception as error:
                for slice in batch:
                    slice.sequence.fail(error)
                    self._end(slice.sequence)
                return
            self._record(batch, perf_counter() - began)
            self._postprocess(batch, rows)

    def _read_inbox(self) -> None:
        while self._inbox:
            request, sequence = self._inbox.popleft()
            if request == "submit" and not sequence.finished:
                self._scheduler.add(sequence)
            else:
                self._end(sequence)

    def _leave_broken_step(self) -> None:
        """Sends away what was in a step that Ctrl-C cut short: nobody knows what it has put into slots."""
        for sequence in [sequence for sequence in self._scheduler.running if sequence.underway]:
            self._scheduler.send_back(sequence)
            self._send_away(sequence)

    def _end(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        self._residency.leave(sequence)

    def _schedule(self) -> list[Slice]:
        """The next step's slices, with pages behind them."""
        scheduler = self._scheduler
        self._admit()
        if scheduler.waiting and (crowding := scheduler.make_room()) is not None:
            self._send_away(crowding)
            self._admit()
        for sequence in scheduler.running:
            if sequence.pending > 1:
                self._residency.follow(sequence)
        # Whole texts cannot be cut, and nobody waits for a next token.
        bounded = (self.expects_company or scheduler.decoding) and not self.reads_whole_texts
        return self._with_pages(scheduler.next_batch(self._pace.room() if bounded else None))

    def _admit(self) -> None:
        running = self._scheduler.running
        self._scheduler.admit(lambda sequence: self._residency.begin(sequence, len(running)))

    def _send_away(self, sequence: Sequence) -> None:
        """Takes its pages from a sequence that has to wait again."""
        self._residency.leave(sequence)
        sequence.preempted = True
        self._counters.preemptions += 1

    def _with_pages(self, batch: list[Slice]) -> list[Slice]:
        """The slices that get their pages; where there are too few, the youngest sequences give theirs up."""
        if all(slice.sequence.page_table.lacks(slice.end) == 0 for slice in batch):
            return batch
        counts: Counter[Sequence] = Counter()
        for slice in batch:
            counts[slice.sequence] += slice.count
        for sequence in tuple(self._scheduler.running):
            while sequence in counts and not self._residency.grow(sequence, counts[sequence]):
                victim = self._scheduler.preempt()
                self._send_away(victim)
                counts.pop(victim, None)
        return [slice for slice in batch if slice.sequence in counts]

    def _record(self, batch: list[Slice], seconds: float) -> None:
        deepest = max(slice.end for slice in batch)
        generated = sum(slice.count for slice in batch if slice.role == GENERATED)
        self._pace.record(sum(slice.count for slice in batch), seconds, deepest, generated=generated)
        self._counters.batch_size = len({slice.sequence for slice in batch})
        self._counters.step_seconds = seconds

    def _postprocess(self, batch: list[Slice], rows: Iterable[NDArray[np.float32]]) -> None:
        ended: set[Sequence] = set()
        for slice, wanted in _in_order(batch, rows):
            sequence = slice.sequence
            if sequence in ended:
                continue
            length = sequence.length
            try:
                sequence.advance(slice.count, wanted)
                sequence.underway = False
            except Exception as error:
                sequence.fail(error)
            self._counters.generated_tokens += sequence.length - length
            if sequence.finished:
                self._end(sequence)
                ended.add(sequence)
            else:
                self._residency.commit(sequence)


def _in_order(batch: list[Slice], rows: Iterable[NDArray[np.float32]]) -> list[tuple[Slice, NDArray[np.float32]]]:
    """Slices with their rows; those of one sequence together, by position."""
    places: dict[Sequence, int] = {}
    for slice in batch:
        places.setdefault(slice.sequence, len(places))
    return sorted(zip(batch, rows, strict=True), key=lambda pair: (places[pair[0].sequence], pair[0].first))


class _PageCopier:
    """Copies pages within a cache, whose groups have other numbers than the pools."""

    def __init__(self, cache: _native.Cache, groups: list[int]) -> None:
        self._cache = cache
        self._groups = groups

    def __call__(self, pool: int, source: int, target: int) -> None:
        self._cache.copy_page(self._groups[pool], source, target)
