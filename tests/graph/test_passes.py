"""Every pass keeps what a graph computes, and does what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from lutmac.graph import passes
from lutmac.graph.ir import Form, Graph, Op, Value, Vector, Weight
from lutmac.graph.operations.activation import Activation
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.attention import Attention
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.gated_activation import GatedActivation
from lutmac.graph.operations.layer_norm import LayerNorm
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.matmul import MatMul
from lutmac.graph.operations.multiply import Multiply
from lutmac.graph.operations.prepare import Prepare
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.schedule import Call, Schedule
from lutmac.graph.states import Pages
from lutmac.graph.verify import InvalidGraphError, Verifier

WIDTH = 32


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
        self.ops.append(RMSNorm(x, Vector(f"norm{len(self.ops)}", WIDTH), 1e-5, out := self.value()))
        return out

    def matmul(self, x: Value, form: Form | None = None, bias: bool = False) -> Value:
        weight = Weight(f"w{len(self.ops)}", WIDTH, WIDTH, form or self.form)
        out = self.value()
        vector = Vector(f"b{len(self.ops)}", WIDTH) if bias else None
        self.ops.append(MatMul(weight, x, out, vector))
        return out

    def layer_norm(self, x: Value) -> Value:
        weights = tuple(Vector(f"norm{len(self.ops)}.{run}", WIDTH // 4) for run in range(4))
        bias = Vector(f"bias{len(self.ops)}", WIDTH)
        self.ops.append(LayerNorm(x, weights, 1e-5, out := self.value(), bias))
        return out

    def activation(self, x: Value) -> Value:
        self.ops.append(Activation("gelu", x, out := self.value()))
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


def scheduled(form: Form = "tables") -> Schedule:
    return Schedule.of(block(form))


def kinds(schedule: Schedule) -> list[str]:
    return [type(call.op).__name__ for call in schedule.calls]


def calls_of(schedule: Schedule, kind: type[Op]) -> list[Call]:
    return [call for call in schedule.calls if isinstance(call.op, kind)]


def same(before: Schedule | Graph, after: Schedule) -> bool:
    Verifier().verify(after)
    return np.allclose(Interpreter(before).run(), Interpreter(after).run(), rtol=1e-6, atol=1e-9)


def test_gated_activation_replaces_activation_and_multiply() -> None:
    after = passes.fuse_gated_activations(scheduled())
    assert "Activation" not in kinds(after)
    assert kinds(after).count("GatedActivation") == 2
    assert same(block(), after)


def test_activation_that_is_read_twice_is_not_fused() -> None:
    b = Builder()
    x = b.embed()
    b.ops.append(Activation("silu", x, activated := b.value()))
    b.ops.append(Multiply(activated, x, gated := b.value()))
    before = Schedule.of(b.graph(b.add(gated, activated)))
    assert passes.fuse_gated_activations(before) == before


def test_each_product_gets_its_input_prepared() -> None:
    after = passes.prepare_inputs(scheduled())
    for call in calls_of(after, MatMul):
        assert call.op.x.form == call.op.weight.form
    assert same(block(), after)


def test_plain_products_need_no_preparation() -> None:
    assert passes.prepare_inputs(scheduled("plain")).calls[-1] == scheduled("plain").calls[-1]


def test_equal_preparations_are_shared() -> None:
    prepared = passes.prepare_inputs(scheduled())
    shared = passes.share_preparations(prepared)
    wanted = [(call.op.x, form.form) for call in calls_of(shared, Prepare) for form in call.forms]
    assert len(wanted) == len(set(wanted))
    assert kinds(prepared).count("Prepare") - kinds(shared).count("Prepare") == 2  # k with q, up with gate
    assert same(prepared, shared)


def prepared_block(*, gated: bool) -> Schedule:
    schedule = passes.fuse_gated_activations(scheduled()) if gated else scheduled()
    return passes.fuse_preparations(passes.share_preparations(passes.prepare_inputs(schedule)))


def test_preparation_moves_into_the_norm_that_makes_the_value() -> None:
    after = prepared_block(gated=False)
    forms = [[form.form for form in call.forms] for call in calls_of(after, RMSNorm)]
    assert forms == [["tables", "integers"], ["tables"], ["tables"]]
    assert same(block(), after)


def test_preparation_moves_into_the_gated_activation() -> None:
    after = prepared_block(gated=True)
    assert [form.form for form in calls_of(after, GatedActivation)[1].forms] == ["tables"]
    assert same(block(), after)


def test_residual_add_moves_into_the_product() -> None:
    after = passes.fuse_residual_adds(scheduled())
    assert len([call for call in calls_of(after, MatMul) if call.residual]) == 2
    assert kinds(after).count("Add") == 1  # of v, which is made before what it would be added to
    assert same(block(), after)


def test_residual_that_is_read_later_stays_an_add() -> None:
    b = Builder("plain")
    hidden = b.embed()
    total = b.add(hidden, b.matmul(b.norm(hidden)))
    before = Schedule.of(b.graph(b.add(b.norm(hidden), total)))
    after = passes.fuse_residual_adds(before)
    assert calls_of(after, Add)
    assert same(before, after)


def test_a_product_of_its_own_residual_stays_an_add() -> None:
    b = Builder("plain")
    hidden = b.embed()
    before = Schedule.of(b.graph(b.add(hidden, b.matmul(hidden))))
    assert passes.fuse_residual_adds(before) == before


def test_products_of_the_same_input_run_side_by_side() -> None:
    after = passes.optimize(block(), exact=False)
    assert [call.together for call in calls_of(after, MatMul)] == [False, True, True, False, False, True, False]
    assert same(block(), after)


def test_products_that_depend_on_each_other_do_not() -> None:
    b = Builder("plain")
    schedule = Schedule.of(b.graph(b.matmul(b.matmul(b.embed()))))
    assert passes.group_products(schedule) == schedule


def test_plain_results_that_nobody_reads_are_not_written() -> None:
    after = passes.optimize(block(), exact=False)
    assert [call.plain for call in calls_of(after, RMSNorm)] == [False, False, True]  # hidden states read the last


def test_what_alone_a_product_reads_is_left_to_its_threads() -> None:
    after = passes.optimize(block(), exact=False)
    assert [call.own for call in calls_of(after, RMSNorm)] == [True, True, False]
    assert [call.own for call in calls_of(after, GatedActivation)] == [False, True]


def test_forms_that_are_read_again_later_are_made_for_all() -> None:
    b = Builder()
    x = b.norm(b.embed())
    again = b.matmul(x)
    between = b.activation(b.matmul(b.norm(again)))
    after = passes.optimize(b.graph(b.add(between, b.matmul(x))), exact=False)
    assert [call.own for call in calls_of(after, RMSNorm)] == [False, True]
    assert same(after, after)


def test_forms_of_what_the_product_overwrites_are_made_for_all() -> None:
    b = Builder()
    hidden = b.embed()
    after = passes.optimize(b.graph(b.activation(b.add(hidden, b.matmul(b.norm(hidden))))), exact=False)
    assert [call.own for call in calls_of(after, RMSNorm)] == [False]


def test_exact_precision_prepares_nothing() -> None:
    after = passes.optimize(block(), exact=True)
    assert all(value.form == "plain" for call in after.calls for value in call.reads() + call.writes())
    assert same(block(), after)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    b = Builder()
    values = [b.embed()]
    for _ in range(draw(st.integers(1, 14))):
        x, y = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        match draw(st.sampled_from(["norm", "layer_norm", "activation", "matmul", "matmul", "add", "gated"])):
            case "norm":
                values.append(b.norm(x))
            case "layer_norm" | "activation" as method:
                values.append(getattr(b, method)(x))
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


H, X, Y = Value("h", WIDTH), Value("x", WIDTH), Value("y", WIDTH)
EMBED, HEAD = Call(Embed(Weight("embedding", 99, WIDTH), H)), Call(Logits(Weight("head", 99, WIDTH), X))
NORM = RMSNorm(H, Vector("norm", WIDTH), 1e-5, X)
PRODUCT = MatMul(Weight("w", WIDTH, WIDTH, "tables"), H, X)
TABLES = Value("x.tables", WIDTH, form="tables")


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([HEAD], "x is read before it is written"),
        ([EMBED, EMBED], "h is written twice"),
        ([EMBED, Call(replace(NORM, weight=Vector("norm", 5)))], "in segments of 5"),
        ([EMBED, Call(replace(PRODUCT, weight=Weight("w", 7, WIDTH)))], r"its matrix is \[7x32\]"),
        ([EMBED, Call(NORM), Call(MatMul(PRODUCT.weight, X, Y), residual=H), Call(Add(Y, H, Value("z", WIDTH)))],
         "h is read when y lies in its buffer"),
        ([EMBED, Call(PRODUCT, forms=(TABLES,))], "it cannot make x.tables"),
        ([EMBED, Call(Activation("silu", H, X), residual=H)], "cannot be added onto h"),
        ([EMBED, Call(NORM, forms=(replace(TABLES, width=8),))], "8 wide|other rows"),
        ([EMBED, Call(NORM, forms=(TABLES,)), Call(Add(TABLES, H, Y))], "is in the form tables"),
        ([EMBED, Call(NORM, own=True)], "nothing takes over"),
        ([EMBED, Call(NORM, together=True)], "cannot run together"),
        ([EMBED, Call(Attention(Pages("cache", 1, WIDTH, WIDTH), H, X, 1, 1.0))], "cache is read before it is stored"),
    ],
)  # fmt: skip
def test_the_verifier_names_what_contradicts_itself(calls: list[Call], message: str) -> None:
    with pytest.raises(InvalidGraphError, match=message):
        Verifier().verify(Schedule(tuple(calls)))
