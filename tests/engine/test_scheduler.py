"""What a step holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lutmac.engine.scheduler import Scheduler
from lutmac.engine.sequence import Sequence


def generating(pending: int, computed: int = 0) -> Sequence:
    sequence = Sequence(range(computed + pending), computed + pending + 10, 1)
    sequence.computed = computed
    return sequence


def scored(length: int) -> Sequence:
    sequence = Sequence(range(length), length, 1)
    sequence.sink = lambda position, logits: None
    return sequence


def running(scheduler: Scheduler, *sequences: Sequence) -> Scheduler:
    for sequence in sequences:
        scheduler.add(sequence)
    scheduler.admit(lambda sequence: True)
    return scheduler


def test_single_tokens_go_before_pieces_of_prompts() -> None:
    prompt, reply = generating(100), generating(1, computed=50)
    batch = running(Scheduler(64, 8, 64), prompt, reply).next_batch()
    assert [(slice.sequence, slice.count) for slice in batch] == [(reply, 1), (prompt, 63)]


def test_a_scored_text_is_cut_by_its_rows_of_logits() -> None:
    batch = running(Scheduler(64, 8, 16), scored(100)).next_batch()
    assert [slice.count for slice in batch] == [16]


def test_sequences_wait_for_a_place_in_order() -> None:
    first, second, third = generating(1), generating(1), generating(1)
    scheduler = running(Scheduler(64, 2, 64), first, second, third)
    assert scheduler.running == [first, second]
    scheduler.remove(first)
    scheduler.admit(lambda sequence: True)
    assert scheduler.running == [second, third]


def test_nobody_overtakes_one_that_waits_for_pages() -> None:
    large, small = generating(100), generating(1)
    scheduler = Scheduler(64, 8, 64)
    scheduler.add(large)
    scheduler.add(small)
    scheduler.admit(lambda sequence: sequence is small)
    assert scheduler.running == []


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 200)), max_size=12), st.integers(8, 64), st.integers(8, 64))
def test_a_step_keeps_its_limits_and_makes_progress(
    asked: list[tuple[bool, int]], max_tokens: int, max_rows: int
) -> None:
    sequences = [generating(length) if kind else scored(length) for kind, length in asked]
    scheduler = running(Scheduler(max_tokens, 8, max_rows), *sequences)
    batch = scheduler.next_batch()
    assert bool(batch) == bool(sequences)
    assert sum(slice.count for slice in batch) <= max_tokens
    assert sum(len(slice.sequence.output_rows(slice.count)) for slice in batch) <= max_rows
    assert all(0 < slice.count <= slice.sequence.pending for slice in batch)
    assert len({slice.sequence for slice in batch}) == len(batch)
