"""What a step holds."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lutmac.engine.running.batch import Slice
from lutmac.engine.running.scheduler import Scheduler
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.running.share import Share
from lutmac.engine.running.step_planner import COMPANY_STEPS, Room

ROOM = Room(32, 8)
ALL = None  # room for all that a step can hold


def generating(pending: int, computed: int = 0) -> Sequence:
    sequence = Sequence(range(computed + pending), computed + pending + 10)
    sequence.computed = sequence.share.served = computed
    return sequence


def scored(length: int) -> Sequence:
    sequence = Sequence(range(length), length)
    sequence.sink = lambda position, logits: None
    return sequence


def running(scheduler: Scheduler, *sequences: Sequence) -> Scheduler:
    for sequence in sequences:
        scheduler.add(sequence)
    scheduler.admit(lambda sequence: True)
    return scheduler


def test_single_tokens_go_before_pieces_of_prompts() -> None:
    prompt, reply = generating(100), generating(1, computed=50)
    batch = running(Scheduler(64, 8, 64), prompt, reply).next_batch(ALL)
    assert [(slice.sequence, slice.count) for slice in batch] == [(reply, 1), (prompt, 63)]


def counts(batch: list[Slice]) -> dict[Sequence, int]:
    return {slice.sequence: slice.count for slice in batch}


def test_the_prompt_that_was_served_least_goes_first_and_the_oldest_has_its_share() -> None:
    old, new = generating(1000, computed=500), generating(100)
    old.page_table.private = new.page_table.private = True
    assert counts(running(Scheduler(512, 8, 512), old, new).next_batch(ROOM)) == {old: 8, new: 24}


def test_a_newcomer_has_a_step_of_its_own_and_the_next_one_is_everybodys() -> None:
    old, new = generating(1000, computed=500), generating(16)
    old.page_table.private = new.page_table.private = True
    scheduler = running(Scheduler(512, 8, 512), old, new)
    assert [counts(scheduler.next_batch(ROOM)) for _ in range(3)] == [{new: 16}, {old: 16, new: 16}, {new: 16}]


def test_a_short_prompt_is_one_step_however_small_steps_are() -> None:
    alone = generating(9)
    assert counts(running(Scheduler(512, 8, 512), alone).next_batch(Room(8, 8))) == {alone: 9}
    old, new = generating(1000, computed=500), generating(9)
    assert counts(running(Scheduler(512, 8, 512), old, new).next_batch(Room(8, 8))) == {new: 9}


def test_few_of_the_replies_that_are_written_go_on_beside_a_newcomer() -> None:
    writing = [of_client("a", written=True) for _ in range(12)]
    other, new = of_client("b", written=True), of_client("c")
    scheduler = running(Scheduler(64, 16, 64), *writing, other, new)
    first, second = counts(scheduler.next_batch(ROOM)), counts(scheduler.next_batch(ROOM))
    assert first == {new: 4, other: 1, **dict.fromkeys(writing[:3], 1)}
    assert second == {new: 4, other: 1, **dict.fromkeys(writing, 1)}


def test_a_newcomer_has_a_step_behind_that_of_another_clients_newcomers_and_then_come_all() -> None:
    """``begins`` of those that were in a step stays true here, where nothing runs: each is a newcomer once."""
    writing = [of_client("a", written=True) for _ in range(12)]
    first, second = of_client("a"), of_client("b")
    scheduler = running(Scheduler(64, 16, 64), *writing, first)
    room = Room(32, 4)
    assert counts(scheduler.next_batch(room)) == {first: 4}
    running(scheduler, second)
    assert counts(scheduler.next_batch(room)) == {second: 4}
    running(scheduler, of_client("c"))
    assert set(writing) <= set(counts(scheduler.next_batch(room)))


def test_many_replies_of_a_client_take_turns_while_others_have_been_there() -> None:
    writing = [of_client("a", written=True) for _ in range(12)]
    other = of_client("b", written=True)
    scheduler = running(Scheduler(64, 16, 64), *writing)
    room = Room(16, 4)
    assert room.replies == 8
    assert set(counts(scheduler.next_batch(room))) == {*writing}
    running(scheduler, other)
    assert set(counts(scheduler.next_batch(room))) == {*writing[:8], other}
    scheduler.remove(other)
    steps = [set(counts(scheduler.next_batch(room))) for _ in range(COMPANY_STEPS)]
    assert [len(step) for step in steps] == [8] * COMPANY_STEPS
    assert all(a | b == {*writing} for a, b in pairwise(steps))
    assert set(counts(scheduler.next_batch(room))) == {*writing}


def test_whose_client_was_served_least_goes_first_however_many_requests_another_makes() -> None:
    mine = [generating(100) for _ in range(5)]
    other = generating(100)
    for place, sequence in enumerate([*mine, other]):
        sequence.page_table.private = True
        sequence.share = Share("b" if sequence is other else "a", served=place)
    scheduler = running(Scheduler(512, 8, 512), *mine, other)
    scheduler.next_batch(ROOM)
    assert counts(scheduler.next_batch(ROOM)) == {mine[0]: 8, other: 24}


def test_texts_take_little_of_a_step_for_a_while_after_a_reply() -> None:
    text, reply = embedded(10_000, Share("a")), of_client("b", written=True)
    scheduler = running(Scheduler(512, 8, 512), text)
    assert counts(scheduler.next_batch(ROOM)) == {text: 32}
    running(scheduler, reply)
    assert counts(scheduler.next_batch(ROOM)) == {text: 8, reply: 1}
    scheduler.remove(reply)
    assert {sum(counts(scheduler.next_batch(ROOM)).values()) for _ in range(COMPANY_STEPS)} == {8}
    assert counts(scheduler.next_batch(ROOM)) == {text: 32}


def test_texts_of_one_token_are_texts() -> None:
    texts = [embedded(1, Share("a")) for _ in range(12)]
    scheduler, new = running(Scheduler(512, 16, 512), *texts), of_client("b")
    assert len(scheduler.next_batch(ROOM)) == 12
    assert counts(running(scheduler, new).next_batch(ROOM)) == {new: 4}
    assert len(scheduler.next_batch(ROOM)) == 9


def test_of_several_that_come_to_the_same_page_one_computes_it() -> None:
    first, second, other = (Sequence([kind] * 200, 210) for kind in (1, 1, 2))
    batch = running(Scheduler(512, 8, 512), first, second, other).next_batch(ALL)
    assert [slice.sequence for slice in batch] == [first, other]


def embedded(length: int, share: Share, done: int = 0) -> Sequence:
    sequence = scored(length)
    sequence.wants_hidden, sequence.share, sequence.computed = True, share, done
    return sequence


def test_texts_of_one_request_are_served_as_one() -> None:
    many = Share(served=300)
    texts = [embedded(100, many) for _ in range(3)]
    alone = embedded(30, Share())
    batch = running(Scheduler(512, 8, 8), *texts, alone).next_batch(Room(40, 8))
    assert {slice.sequence: slice.count for slice in batch} == {alone: 30, texts[0]: 10}


def test_hidden_states_take_none_of_the_room_for_logits() -> None:
    batch = running(Scheduler(512, 8, 8), embedded(100, Share())).next_batch(ALL)
    assert [slice.count for slice in batch] == [100]


def test_whoever_has_fewest_running_begins_first_and_nobody_is_passed_over_for_ever() -> None:
    scheduler, many = Scheduler(64, 2, 64), Share()
    texts = [embedded(100, many) for _ in range(6)]
    running(scheduler, *texts)
    scheduler.add(first := embedded(10, Share()))
    scheduler.add(second := embedded(10, Share()))
    begun = []
    for _ in range(4):
        scheduler.remove(scheduler.running[0])
        scheduler.admit(lambda sequence: True)
        begun.append(scheduler.running[-1])
    assert begun == [first, texts[2], second, texts[3]]


def test_the_youngest_is_sent_back_and_is_the_next_to_start() -> None:
    first, second, third = generating(1), generating(1), generating(1)
    scheduler = running(Scheduler(64, 2, 64), first, second, third)
    assert scheduler.preempt() is second
    assert list(scheduler.waiting) == [second, third]


def test_a_scored_text_is_cut_by_its_rows_of_logits() -> None:
    batch = running(Scheduler(64, 8, 16), scored(100)).next_batch(ALL)
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
    batch = scheduler.next_batch(ALL)
    assert bool(batch) == bool(sequences)
    assert sum(slice.count for slice in batch) <= max_tokens
    assert sum(len(slice.output_rows) for slice in batch) <= max_rows
    assert all(0 < slice.count <= slice.sequence.pending for slice in batch)
    assert len({slice.sequence for slice in batch}) == len(batch)


def of_client(name: str, request: Share | None = None, *, written: bool = False) -> Sequence:
    found = generating(1, computed=4) if written else generating(4)
    found.prompt_length, found.page_table.private = 4, True
    found.share = request or Share(name)
    return found


def test_a_client_that_has_none_running_gets_a_place_of_one_that_has_several() -> None:
    scheduler = Scheduler(16, 4, 16)
    mine = [of_client("a") for _ in range(6)]
    for one in mine:
        scheduler.add(one)
    scheduler.admit(lambda _: True)
    assert scheduler.make_room() is None  # all of one client, and each request has one at most
    newcomer = of_client("b")
    scheduler.add(newcomer)
    assert scheduler.make_room() is mine[3]
    scheduler.admit(lambda _: True)
    assert scheduler.running == [*mine[:3], newcomer]
    assert scheduler.waiting[-1] is mine[3]
    assert scheduler.make_room() is None


def test_a_request_of_many_replies_makes_room_for_another_of_the_same_client() -> None:
    scheduler = Scheduler(16, 4, 16)
    many = Share("a")
    for _ in range(8):
        scheduler.add(of_client("a", many))
    scheduler.admit(lambda _: True)
    assert scheduler.make_room() is None
    other = of_client("a")
    scheduler.add(other)
    assert scheduler.make_room() is not None
    scheduler.admit(lambda _: True)
    assert other in scheduler.running
