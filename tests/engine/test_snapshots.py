"""Snapshots of slots: whoever begins with one has what it would have computed, and no slot is ever lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lutmac.engine.running.kv_cache import PAGE_TOKENS, PageManager
from lutmac.engine.running.memory import FEWEST_SLOTS, FULL_SEQUENCES, GroupNeed, divide_memory, slot_need
from lutmac.engine.running.residency import Residency
from lutmac.engine.running.sequence import GENERATED, PROMPT, Sequence
from lutmac.engine.running.snapshots import BORDER_TOKENS, Places, SlotPool
from lutmac.engine.running.stats import Counters

PAGES, WINDOWS = (14, 10, 9), (0, 100, 1)
FEW_PAGES = (7, 6, 6)
MAX_TOKENS = 4 * PAGE_TOKENS


def digest(sequence: Sequence, length: int) -> int:
    """What a state holds that has seen so many tokens: it depends on all of them, and on their roles."""
    return hash(sequence.keys[:length].tobytes())


class Cache:
    """Pages and slots as dictionaries of what was written, and how the engine uses them."""

    def __init__(self, slots: int, groups: int, pages: tuple[int, ...] = PAGES) -> None:
        self.windows = WINDOWS[:groups]
        self.memory = [np.zeros((count, PAGE_TOKENS), np.int64) for count in pages[:groups]]
        self.slots = np.zeros(slots, np.int64)
        self.pages = PageManager(pages[:groups], self.windows)
        self.pool = SlotPool(slots, self.pages.tree, self.copy_slot)
        self.counters = Counters()
        self.residency = Residency(self.pages, self.pool, self.counters, self.copy_page)
        self.copied = 0

    def copy_slot(self, source: int, target: int) -> None:
        assert source != target
        self.slots[target] = self.slots[source]
        self.copied += 1

    def copy_page(self, group: int, source: int, target: int) -> None:
        assert source != target
        self.memory[group][target] = self.memory[group][source]

    def sequence(self, tokens: list[int], room: int = 0, **options: Any) -> Sequence:
        sequence = Sequence(tokens, len(tokens) + room, windows=self.windows, **options)
        sequence.sampler = object()  # type: ignore[assignment]
        return sequence

    def begun(self, tokens: list[int], room: int = 0, shared_prefix: int | None = None, **options: Any) -> Sequence:
        sequence = self.sequence(tokens, room, **options)
        sequence.shared_prefix = shared_prefix
        assert self.residency.begin(sequence, 0)
        return sequence

    def check(self, sequence: Sequence) -> None:
        """What the token at ``computed`` reads."""
        computed = sequence.computed
        assert computed < sequence.length
        if computed:
            assert self.slots[sequence.slot] == digest(sequence, computed)
        for group, window in enumerate(self.windows):
            table = sequence.page_table.pages(group)
            for position in range(max(0, computed - window + 1) if window else 0, computed):
                found = self.memory[group][table[position // PAGE_TOKENS], position % PAGE_TOKENS]
                assert found == digest(sequence, position + 1)

    def step(self, sequence: Sequence, count: int) -> bool:
        """Runs up to so many tokens; False where pages run out. The last token of a prompt draws one."""
        count = min(count, sequence.runnable(sequence.computed))
        if not self.residency.grow(sequence, count):
            return False
        self.check(sequence)
        for position in range(sequence.computed, sequence.computed + count):
            for group, memory in enumerate(self.memory):
                page = sequence.page_table.pages(group)[position // PAGE_TOKENS]
                memory[page, position % PAGE_TOKENS] = digest(sequence, position + 1)
        sequence.computed += count
        self.slots[sequence.slot] = digest(sequence, sequence.computed)
        if not sequence.pending and sequence.length < sequence.max_length:
            sequence._append(sequence.computed % 2, np.empty(0, np.float32))
        elif not sequence.pending:
            sequence.finish_reason = "length"
        (self.residency.leave if sequence.finished else self.residency.commit)(sequence)
        return True

    def run(self, tokens: list[int], **options: Any) -> Sequence:
        """From its beginning to its end."""
        sequence = self.begun(tokens, **options)
        while not sequence.finished:
            assert self.step(sequence, 1000)
        return sequence


class Sharing(RuleBasedStateMachine):
    """Sequences begin with parts of what others were, run, draw, are sent away, fail and end at random.

    There are few different tokens, two roles, and little room.
    """

    @initialize(slots=st.integers(1, 6), groups=st.integers(0, 3))
    def start(self, slots: int, groups: int) -> None:
        self.cache = Cache(slots, groups, FEW_PAGES)
        self.running: list[Sequence] = []
        self.texts = [np.repeat([0, 1, 0, 1, 1], 48), np.repeat([0, 0, 1, 0, 1], 48)]

    @rule(
        text=st.integers(-4, 1),
        length=st.integers(1, MAX_TOKENS - 9) | st.integers(MAX_TOKENS - 19, MAX_TOKENS - 9),
        changed=st.booleans(),
        room=st.integers(0, 9),
        shared=st.none() | st.integers(0, 200),
        roles=st.sampled_from([None, None, 0, 150]),
        private=st.sampled_from([False, False, False, False, True]),
    )
    def begin(self, text: int, length: int, changed: bool, **options: Any) -> None:
        tokens = self.texts[max(text, -len(self.texts))][:length].tolist()
        tokens += [int(changed)] * min(5, MAX_TOKENS - 9 - len(tokens))
        roles = options.pop("roles")
        given = None if roles is None else (bytes([GENERATED]) * roles + bytes([PROMPT]) * len(tokens))[: len(tokens)]
        sequence = self.cache.sequence(tokens, options["room"], private=options["private"], roles=given)
        sequence.shared_prefix = options["shared"]
        if self.cache.residency.begin(sequence, len(self.running)):
            self.running.append(sequence)
            self.texts.append(sequence._buffer)

    @rule(place=st.integers(0, 100), count=st.integers(1, 150))
    def step(self, place: int, count: int) -> None:
        if self.running:
            sequence = self.running[place % len(self.running)]
            if sequence.pending > 1:
                self.cache.residency.follow(sequence)
            if self.cache.step(sequence, count) and sequence.finished:
                self.running.remove(sequence)

    @rule(place=st.integers(0, 100))
    def finish(self, place: int) -> None:
        if self.running:
            sequence = self.running[place % len(self.running)]
            while self.cache.step(sequence, 150):
                if sequence.finished:
                    self.running.remove(sequence)
                    break

    @rule(place=st.integers(0, 100), failed=st.booleans(), again=st.booleans())
    def leave(self, place: int, failed: bool, again: bool) -> None:
        if self.running:
            sequence = self.running.pop(place % len(self.running))
            if failed:
                self.cache.slots[sequence.slot] = -1
                sequence.underway = True
            self.cache.residency.leave(sequence)
            if again and not failed:  # as one that had to make room
                sequence.preempted = True
                if self.cache.residency.begin(sequence, len(self.running)):
                    self.running.append(sequence)

    @invariant()
    def every_sequence_reads_what_it_computed(self) -> None:
        for sequence in self.running:
            self.cache.check(sequence)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.cache.pool.available + len(self.running) == self.cache.pool.num_slots
        assert len({sequence.slot for sequence in self.running}) == len(self.running)
        for pool in self.cache.pages.pools:
            held = set()
            for sequence in self.running:
                table = sequence.page_table
                held |= {int(page) for page in table.pages(pool.group)[table.first(pool.group) :]}
            assert len(held) + pool.available == pool.num_pages

    @invariant()
    def snapshots_in_the_tree_are_those_that_are_kept(self) -> None:
        nodes, found = [self.cache.pages.tree.root], 0
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            found += len(node.snapshots)
        assert found == self.cache.pool.snapshots


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

TOKENS = np.random.default_rng(3).integers(0, 90, 300).tolist()


@pytest.fixture(params=[3, 0], ids=["pages", "no pages"])
def cache(request: pytest.FixtureRequest) -> Cache:
    return Cache(6, request.param)


def test_the_end_of_a_prompt_and_of_a_turn(cache: Cache) -> None:
    """The same prompt runs its last token; one that goes on with the reply runs what is new."""
    first = cache.run(TOKENS, room=10)
    assert cache.pool.snapshots == 2
    again = cache.begun(TOKENS, room=10)
    assert again.reused == len(TOKENS) - 1
    cache.residency.leave(again)
    longer = cache.begun([*first.tokens.tolist(), 1, 2])
    assert longer.reused == first.length - 1  # the last token never ran


def test_before_the_generation_prompt(cache: Cache) -> None:
    """A later prompt that has the reply otherwise begins where the caller said."""
    cache.run(TOKENS, room=10, shared_prefix=len(TOKENS) - 5)
    assert cache.begun([*TOKENS[:-5], 7, 7, 7, 7, 7, 7]).reused == len(TOKENS) - 5


def test_where_prompts_part(cache: Cache) -> None:
    """The second that begins so leaves a snapshot, the third uses it."""
    others = [[*TOKENS[:150], *[n] * 60] for n in (91, 92, 93)]
    assert [cache.run(prompt).reused for prompt in others] == [0, 0, 150]


def test_every_sixteenth_page() -> None:
    places = Places.of(0, [5000, None, 5000], 4)
    found, position = [], 0
    while position < 5000:
        position = places.behind(position)
        found.append(position)
    assert found == [1024, 2048, 3072, 4096, 5000]
    assert all(position in places for position in found)
    assert 0 not in places
    assert BORDER_TOKENS == 16 * PAGE_TOKENS
    assert Places.of(4998, [5000], 4).own == ()


def test_other_sequences_copy_the_page_on_which_one_goes_on(cache: Cache) -> None:
    """Of several with one prompt that begin together one computes it, also what is on a page that is not full."""
    first, second = cache.begun(TOKENS, room=5), cache.begun(TOKENS, room=5)
    assert first.heading == second.heading is not None
    while cache.pool.snapshots == 0:
        cache.step(first, 100)
    cache.residency.follow(second)
    assert second.computed == second.reused == len(TOKENS) - 1
    cache.check(second)
    while not first.finished:
        cache.step(first, 100)
    cache.check(second)


def test_one_that_has_begun_a_page_follows_too(cache: Cache) -> None:
    """Of two that begin with the same system prompt, which ends within a page."""
    cache.run(TOKENS[:150], shared_prefix=145)
    prompt = [*TOKENS[:145], *TOKENS[200:280]]
    first, second = cache.begun(prompt, room=5), cache.begun(prompt, room=5)
    assert first.reused == second.reused == 145
    assert first.heading == second.heading is not None
    while first.computed < len(prompt) - 1:
        cache.step(first, 100)
    cache.residency.follow(second)
    assert second.reused == len(prompt) - 1
    cache.check(second)


def test_a_sequence_goes_before_snapshots_and_the_oldest_of_them_goes_first() -> None:
    cache = Cache(2, 1)
    cache.run(TOKENS[:100])  # leaves two
    one = cache.begun(TOKENS[150:250])
    assert cache.pool.snapshots == 1  # that of the end, which came last
    two = cache.begun([*TOKENS[:100], 1])
    assert two.reused == 100
    assert cache.pool.snapshots == 0
    assert not cache.residency.begin(cache.sequence([1, 2]), 0)
    assert cache.step(one, 1000)
    assert cache.pool.snapshots == 0  # there is no room for one
    cache.residency.leave(two)
    assert cache.pool.snapshots == 1


def test_borders_of_a_long_prompt_take_no_other_snapshots_place() -> None:
    cache = Cache(4, 0)
    cache.run(TOKENS)  # leaves two
    long = np.random.default_rng(4).integers(90, 99, 6 * BORDER_TOKENS).tolist()
    sequence = cache.begun(long)
    while sequence.computed < 5 * BORDER_TOKENS:
        cache.step(sequence, 1000)
    assert cache.pool.snapshots == 3
    assert cache.begun(TOKENS).reused == len(TOKENS) - 1


def test_one_slot_is_taken_over_from_turn_to_turn() -> None:
    """Where not even one snapshot fits beside a sequence, the slot itself is what the next turn goes on with."""
    cache, tokens, known = Cache(1, 1), TOKENS[:50], 0
    for _ in range(3):
        sequence = cache.run(tokens, room=3)
        assert sequence.reused == known
        tokens, known = [*sequence.tokens.tolist(), *TOKENS[len(tokens) : len(tokens) + 7]], sequence.length - 1
    assert cache.copied == 0


def test_roles_are_not_mixed(cache: Cache) -> None:
    """What tokens have computed in one role is nothing to the same tokens in another; a reply's are in its own."""
    prompt = bytes([PROMPT])
    reply = cache.run(TOKENS[:100], room=60, roles=prompt * 100).tokens.tolist()
    as_prompt, as_reply = prompt * 161, prompt * 100 + bytes([GENERATED]) * 60 + prompt
    assert cache.run([*reply, 5], roles=as_prompt).reused == 99
    assert cache.run([*reply, 5], roles=as_reply).reused == 159
    assert cache.run([*reply, 5], roles=as_prompt).reused == 160  # which the last but one has computed by now
    assert cache.run(TOKENS[:100], roles=bytes([GENERATED]) * 100).reused == 0


def test_a_slice_has_one_role() -> None:
    """Also where what is given ends in another role than what is drawn has."""
    sequence = Sequence(range(12), 20, roles=bytes([PROMPT] * 3 + [GENERATED] * 4 + [PROMPT] * 5))
    for token in (7, 8):  # as it has them after it lost its pages
        sequence._append(token, np.empty(0, np.float32))
    slices = []
    while sequence.pending:
        count = sequence.runnable(sequence.computed)
        slices.append((sequence.role_at(sequence.computed), count))
        sequence.computed += count
    assert slices == [(PROMPT, 3), (GENERATED, 4), (PROMPT, 5), (GENERATED, 2)]
    assert Sequence(range(12), 20).runnable(0) == 12


def test_roles_in_models_without_slots() -> None:
    """Pages and copied beginnings."""
    manager = PageManager([20])
    residency = Residency(manager, None, Counters(), lambda *_: None)

    def run(roles: bytes) -> int:
        sequence = Sequence(TOKENS[:150], 150, roles=roles)
        assert residency.begin(sequence, 0)
        found = sequence.computed
        assert residency.grow(sequence, 150 - found)
        sequence.computed = 150
        residency.leave(sequence)
        return found

    assert [run(bytes(150)), run(bytes(150))] == [0, 149]
    assert [run(bytes(100) + bytes([1]) * 50), run(bytes(100) + bytes([1]) * 50)] == [100, 149]
    assert run(bytes([1]) * 150) == 0


def test_memory_of_large_slots() -> None:
    """Qwen3.5 27B: 48 layers of 48 heads x 128 x 128 floats, 16 layers of pages; 8192 positions are 537 MB."""
    pages, slot = (
        GroupNeed(16 * 64 * 4 * 256 * 4, 128),
        slot_need(48 * 48 * 128 * 128 * 4, 128 * 16 * 64 * 4 * 256 * 4),
    )
    assert slot.one == FEWEST_SLOTS
    least = pages.page_bytes * 128 + slot.page_bytes
    assert divide_memory([pages, slot], least) == [128, 1]
    assert divide_memory([pages, slot], least + slot.page_bytes) == [128, 2]
    one = pages.page_bytes * 128 + slot.page_bytes * FEWEST_SLOTS
    assert divide_memory([pages, slot], 8 * one) == [8 * 128, 8 * FEWEST_SLOTS]
    assert divide_memory([pages, slot], 100 * one)[1] == FULL_SEQUENCES * FEWEST_SLOTS


def test_memory_of_small_slots() -> None:
    """LFM2 700M: 10 convolutions of 1536 channels, 6 layers of pages."""
    page, slot = 6 * 64 * 8 * 64 * 4, 10 * 1536 * 2 * 4
    pages, slots = divide_memory([GroupNeed(page, 128), slot_need(slot, 128 * page)], 1 << 30)
    assert slots == 32 * FULL_SEQUENCES
    assert (1 << 30) - page < pages * page + slots * slot <= 1 << 30


def test_the_page_whose_beginning_is_copied_is_not_evicted_for_the_copy() -> None:
    """Though it is the one that was used least recently."""
    cache = Cache(6, 1, (4,))
    cache.run(TOKENS[:100])  # a full page and a begun one
    cache.run(TOKENS[200:210])
    cache.run(TOKENS[210:220])
    sequence = cache.begun([*TOKENS[:100], 1, 2])
    assert sequence.reused == 100
    cache.check(sequence)
