"""No two values that are alive together share memory, and memory is reused where they are not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lutmac.graph.ir import Add, Embed, Graph, Logits, MatMul, Product, Value, Weight
from lutmac.graph.placement import ALIGNMENT, lives, place

WEIGHT = Weight("w", 8, 8)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    values = [Value("v0", draw(st.integers(1, 100)))]
    ops: list = [Embed(WEIGHT, values[0])]
    for index in range(1, draw(st.integers(2, 30))):
        out = Value(f"v{index}", draw(st.integers(1, 100)))
        ops.append(Add(draw(st.sampled_from(values)), draw(st.sampled_from(values)), out))
        values.append(out)
    return Graph((*ops, Logits(WEIGHT, values[-1])))


def nbytes(value: Value) -> int:
    return value.width * 12


@given(graphs())
def test_live_buffers_never_overlap(graph: Graph) -> None:
    placement = place(graph, nbytes)
    found = list(lives(graph, nbytes).items())
    for index, (first, life) in enumerate(found):
        start, end = placement.offsets[first], placement.offsets[first] + life.nbytes
        assert start % ALIGNMENT == 0
        assert end <= placement.arena_bytes
        for second, other in found[index + 1 :]:
            if life.overlaps(other):
                other_start = placement.offsets[second]
                assert end <= other_start or other_start + other.nbytes <= start


@given(graphs())
def test_the_arena_is_no_larger_than_all_buffers_together(graph: Graph) -> None:
    total = sum(-(-nbytes(value) // ALIGNMENT) * ALIGNMENT for op in graph.ops for value in op.writes())
    assert place(graph, nbytes).arena_bytes <= total


def test_a_chain_needs_two_buffers() -> None:
    values = [Value(f"v{i}", 16) for i in range(10)]
    ops = [Embed(WEIGHT, values[0])]
    ops += [MatMul((Product(WEIGHT, x, out),)) for x, out in pairwise(values)]
    assert place(Graph((*ops, Logits(WEIGHT, values[-1]))), lambda value: 64).arena_bytes == 128


def test_a_residual_and_the_sum_are_one_buffer() -> None:
    hidden, x, total = Value("hidden", 16), Value("x", 16), Value("total", 16)
    ops = (
        Embed(WEIGHT, hidden),
        MatMul((Product(WEIGHT, hidden, x),)),
        MatMul((Product(WEIGHT, x, total, residual=hidden),)),
        Logits(WEIGHT, total),
    )
    placement = place(Graph(ops), lambda value: 64)
    assert placement.offsets[total] == placement.offsets[hidden] != placement.offsets[x]
    assert placement.buffers[total] == hidden
