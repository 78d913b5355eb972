"""Every pass keeps what a graph computes, and does what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from graph_interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from lutmac.graph import passes
from lutmac.graph.ir import (
    Activation,
    Add,
    Embed,
    Form,
    GatedActivation,
    Graph,
    Logits,
    MatMul,
    Multiply,
    Norm,
    Op,
    Prepare,
    Product,
    Value,
    Vector,
    Weight,
)

WIDTH = 8


class Builder:
    """Writes small graphs down."""

    def __init__(self, form: Form = "tables") -> None:
        self.form = form
        self.ops: list[Op] = []

    def value(self) -> Value:
        return Value(f"v{len(self.ops)}", WIDTH)

    def embed(self) -> Value:
        self.ops.append(Embed(Weight("embedding", 99, WIDTH), out := self.value()))
        return out

    def norm(self, x: Value) -> Value:
        self.ops.append(Norm(x, Vector(f"norm{len(self.ops)}", WIDTH), 1e-5, out := self.value()))
        return out

    def matmul(self, x: Value, form: Form | None = None, bias: bool = False) -> Value:
        weight = Weight(f"w{len(self.ops)}", WIDTH, WIDTH, form or self.form)
        out = self.value()
        vector = Vector(f"b{len(self.ops)}", WIDTH) if bias else None
        self.ops.append(MatMul((Product(weight, x, out, vector),)))
        return out

    def add(self, a: Value, b: Value) -> Value:
        self.ops.append(Add(a, b, out := self.value()))
        return out

    def gated(self, gate: Value, up: Value) -> Value:
        self.ops.append(Activation("silu", gate, activated := self.value()))
        self.ops.append(Multiply(activated, up, out := self.value()))
        return out

    def graph(self, x: Value) -> Graph:
        return Graph((*self.ops, Logits(Weight("head", WIDTH, WIDTH, self.form), x)))


def block(form: Form = "tables") -> Graph:
    b = Builder(form)
    hidden = b.embed()
    x = b.norm(hidden)
    q, k, v = b.matmul(x, bias=True), b.matmul(x), b.matmul(x, form="integers")
    hidden = b.add(hidden, b.matmul(b.add(b.gated(q, k), v)))
    x = b.norm(hidden)
    hidden = b.add(b.matmul(b.gated(b.matmul(x), b.matmul(x))), hidden)
    return b.graph(b.norm(hidden))


def kinds(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.ops]


def same(before: Graph, after: Graph) -> bool:
    return np.allclose(Interpreter(before).run(), Interpreter(after).run(), rtol=1e-9, atol=1e-12)


def test_gated_activation_replaces_activation_and_multiply() -> None:
    after = passes.fuse_gated_activations(block())
    assert "Activation" not in kinds(after)
    assert kinds(after).count("GatedActivation") == 2
    assert same(block(), after)


def test_activation_that_is_read_twice_is_not_fused() -> None:
    b = Builder()
    x = b.embed()
    b.ops.append(Activation("silu", x, activated := b.value()))
    b.ops.append(Multiply(activated, x, gated := b.value()))
    before = b.graph(b.add(gated, activated))
    assert passes.fuse_gated_activations(before) == before


def test_each_product_gets_its_input_prepared() -> None:
    after = passes.prepare_inputs(block())
    for op in after.ops:
        if isinstance(op, MatMul):
            assert all(product.x.form == product.weight.form for product in op.products)
    assert same(block(), after)


def test_plain_products_need_no_preparation() -> None:
    assert passes.prepare_inputs(block("plain")).ops[-1] == block("plain").ops[-1]


def test_equal_preparations_are_shared() -> None:
    prepared = passes.prepare_inputs(block())
    shared = passes.share_preparations(prepared)
    wanted = [(op.x, form.form) for op in shared.ops if isinstance(op, Prepare) for form in op.forms]
    assert len(wanted) == len(set(wanted))
    assert kinds(prepared).count("Prepare") - kinds(shared).count("Prepare") == 2  # k with q, up with gate
    assert same(prepared, shared)


def test_preparation_moves_into_the_norm_that_makes_the_value() -> None:
    after = passes.fuse_preparations(passes.share_preparations(passes.prepare_inputs(block())))
    norms = [op for op in after.ops if isinstance(op, Norm)]
    assert [[form.form for form in norm.forms] for norm in norms] == [["tables", "integers"], ["tables"], ["tables"]]
    assert same(block(), after)


def test_preparation_moves_into_the_gated_activation() -> None:
    graph = passes.fuse_gated_activations(block())
    after = passes.fuse_preparations(passes.share_preparations(passes.prepare_inputs(graph)))
    gated = [op for op in after.ops if isinstance(op, GatedActivation)]
    assert [form.form for form in gated[1].forms] == ["tables"]
    assert same(block(), after)


def test_residual_add_moves_into_the_product() -> None:
    after = passes.fuse_residual_adds(block())
    residuals = [p.residual for op in after.ops if isinstance(op, MatMul) for p in op.products if p.residual]
    assert len(residuals) == 2
    assert kinds(after).count("Add") == 1  # of v, which is made before what it would be added to
    assert same(block(), after)


def test_residual_that_is_read_later_stays_an_add() -> None:
    b = Builder("plain")
    hidden = b.embed()
    total = b.add(hidden, b.matmul(b.norm(hidden)))
    before = b.graph(b.add(b.norm(hidden), total))
    after = passes.fuse_residual_adds(before)
    assert Add in map(type, after.ops)
    assert same(before, after)


def test_a_product_of_its_own_residual_stays_an_add() -> None:
    b = Builder("plain")
    hidden = b.embed()
    before = b.graph(b.add(hidden, b.matmul(hidden)))
    assert passes.fuse_residual_adds(before) == before


def test_products_of_the_same_input_are_grouped() -> None:
    after = passes.optimize(block(), exact=False)
    assert [len(op.products) for op in after.ops if isinstance(op, MatMul)] == [3, 1, 2, 1]
    assert same(block(), after)


def test_products_that_depend_on_each_other_are_not_grouped() -> None:
    b = Builder("plain")
    graph = b.graph(b.matmul(b.matmul(b.embed())))
    assert passes.group_products(graph) == graph


def test_plain_results_that_nobody_reads_are_not_written() -> None:
    after = passes.optimize(block(), exact=False)
    assert [op.out for op in after.ops if isinstance(op, Norm)] == [None, None, None]


def test_exact_precision_prepares_nothing() -> None:
    after = passes.optimize(block(), exact=True)
    assert all(value.form == "plain" for op in after.ops for value in op.reads() + op.writes())
    assert same(block(), after)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    b = Builder()
    values = [b.embed()]
    for _ in range(draw(st.integers(1, 14))):
        x, y = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        match draw(st.sampled_from(["norm", "matmul", "matmul", "add", "gated"])):
            case "norm":
                values.append(b.norm(x))
            case "matmul":
                form = draw(st.sampled_from(("plain", "tables", "integers")))
                values.append(b.matmul(x, form, draw(st.booleans())))
            case "add":
                values.append(b.add(x, y))
            case "gated":
                values.append(b.gated(x, y))
    return b.graph(values[-1])


@given(graphs(), st.booleans())
def test_any_graph_computes_the_same_after_all_passes(graph: Graph, exact: bool) -> None:
    assert same(graph, passes.optimize(graph, exact=exact))


@pytest.mark.parametrize("exact", [False, True])
def test_passes_leave_an_optimized_graph_as_it_is(exact: bool) -> None:
    once = passes.optimize(block(), exact=exact)
    assert passes.optimize(once, exact=exact) == once
