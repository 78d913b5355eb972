"""No two values that are alive together share memory, and memory is reused where they are not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lutmac.graph.ir import Op, Value, Weight
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.attention import Attention
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.matmul import MatMul
from lutmac.graph.operations.prepare import Prepare
from lutmac.graph.operations.rope_store import RopeStore
from lutmac.graph.placement import ALIGNMENT, lives, place
from lutmac.graph.schedule import Call, Schedule
from lutmac.graph.states import Pages

WEIGHT = Weight("w", 8, 8)


def scheduled(*ops: Op) -> Schedule:
    return Schedule(tuple(Call(op) for op in ops))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    values = [Value("v0", draw(st.integers(1, 100)))]
    ops: list = [Embed(WEIGHT, values[0])]
    for index in range(1, draw(st.integers(2, 30))):
        out = Value(f"v{index}", draw(st.integers(1, 100)))
        ops.append(Add(draw(st.sampled_from(values)), draw(st.sampled_from(values)), out))
        values.append(out)
    return scheduled(*ops, Logits(WEIGHT, values[-1]))


def nbytes(value: Value) -> int:
    return value.width * 12


@given(schedules())
def test_live_buffers_never_overlap(schedule: Schedule) -> None:
    placement = place(schedule, nbytes)
    found = list(lives(schedule, nbytes).items())
    for index, (first, life) in enumerate(found):
        start, end = placement.offsets[first], placement.offsets[first] + life.nbytes
        assert start % ALIGNMENT == 0
        assert end <= placement.arena_bytes
        for second, other in found[index + 1 :]:
            if life.overlaps(other):
                other_start = placement.offsets[second]
                assert end <= other_start or other_start + other.nbytes <= start


@given(schedules())
def test_the_arena_is_no_larger_than_all_buffers_together(schedule: Schedule) -> None:
    total = sum(-(-nbytes(value) // ALIGNMENT) * ALIGNMENT for call in schedule.calls for value in call.writes())
    assert place(schedule, nbytes).arena_bytes <= total


def test_a_chain_needs_two_buffers() -> None:
    values = [Value(f"v{i}", 16) for i in range(10)]
    ops = [Embed(WEIGHT, values[0])]
    ops += [MatMul(WEIGHT, x, out) for x, out in pairwise(values)]
    assert place(scheduled(*ops, Logits(WEIGHT, values[-1])), lambda value: 64).arena_bytes == 128


def test_a_residual_and_the_sum_are_one_buffer() -> None:
    hidden, x, total = Value("hidden", 16), Value("x", 16), Value("total", 16)
    calls = (
        Call(Embed(WEIGHT, hidden)),
        Call(MatMul(WEIGHT, hidden, x)),
        Call(MatMul(WEIGHT, x, total), residual=hidden),
        Call(Logits(WEIGHT, total)),
    )
    placement = place(Schedule(calls), lambda value: 64)
    assert placement.offsets[total] == placement.offsets[hidden] != placement.offsets[x]
    assert placement.buffers[total] == hidden


def test_what_threads_make_forms_of_lives_until_the_product_is_done() -> None:
    x, form, out = Value("x", 32), Value("x.tables", 32, form="tables"), Value("out", 32)
    own = Call(Prepare(x), forms=(form,), own=True)
    for maker in (own, replace(own, own=False)):
        calls = (Call(Embed(WEIGHT, x)), maker, Call(MatMul(WEIGHT, form, out)), Call(Logits(WEIGHT, out)))
        placement = place(Schedule(calls), lambda value: 64)
        assert (placement.offsets[out] == placement.offsets[x]) == (not maker.own)


def test_the_result_of_attention_lies_over_nothing_that_is_still_stored() -> None:
    cache = Pages("layers.0.keys_values", 2, 4, 4)
    q, k, v, turned, attended = (Value(name, 8) for name in ("q", "k", "v", "turned", "attended"))
    ops = [Embed(WEIGHT, value) for value in (q, k, v)]
    ops += [RopeStore(cache, q, k, v, turned, num_heads=2), Attention(cache, turned, attended, num_heads=2, scale=1.0)]
    offsets = place(scheduled(*ops, Logits(WEIGHT, attended)), lambda value: 64).offsets
    assert len({offsets[value] for value in (turned, k, v, attended)}) == 4
