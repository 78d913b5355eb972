"""The passes between a model's graph and its program: each takes a graph and returns one that computes the same."""

from __future__ import annotations

from dataclasses import replace

from lutmac.errors import UnsupportedModelError
from lutmac.graph.experts import ExpertGather, ExpertMatMul, ExpertSum
from lutmac.graph.ir import (
    Activation,
    Add,
    Form,
    GatedActivation,
    Graph,
    HiddenStates,
    Logits,
    MatMul,
    Multiply,
    Norm,
    Op,
    Prepare,
    RoundToInt8,
    Value,
    Weight,
)


def optimize(graph: Graph, *, exact: bool) -> Graph:
    """All passes, in the order in which they build on each other.

    exact: products read their inputs as plain floats, so that nothing is prepared but what is permuted.
    """
    graph = fuse_gated_activations(graph)
    if not exact:
        graph = drop_rounding(graph)
    graph = fuse_preparations(share_preparations(prepare_inputs(graph, exact=exact)))
    graph = fuse_residual_adds(graph)
    return drop_unread(group_products(graph))


def expose_hidden_states(graph: Graph) -> Graph:
    """Lets the caller have what the head reads, as it is before any preparation."""
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, Logits):
            ops.append(HiddenStates(op.x))
        ops.append(op)
    return Graph(tuple(ops))


def fuse_gated_activations(graph: Graph) -> Graph:
    """Activation, then Multiply by it: one GatedActivation, where nothing else reads the activation."""
    readers, writers = graph.readers(), graph.writers()
    ops: list[Op | None] = list(graph.ops)
    for index, op in enumerate(graph.ops):
        if not isinstance(op, Multiply):
            continue
        for gate, up in ((op.a, op.b), (op.b, op.a)):
            producer = graph.ops[writers[gate]] if gate in writers else None
            if isinstance(producer, Activation) and readers[gate] == [index]:
                ops[index] = GatedActivation(producer.kind, producer.x, up, op.out)
                ops[writers[gate]] = None
                break
    return _without_holes(ops)


def drop_rounding(graph: Graph) -> Graph:
    """What read a rounded value reads the value itself: tables round less than int8 does, and once is enough."""
    substitutes: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, RoundToInt8):
            substitutes[op.out] = op.x
        else:
            ops.append(op.reading(substitutes))
    return Graph(tuple(ops))


def prepare_inputs(graph: Graph, *, exact: bool = False) -> Graph:
    """Puts a Prepare before every product whose matrix wants its input in another form or order than it has.

    exact: every product wants plain floats.
    """
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, MatMul):
            products = []
            for product in op.products:
                x = _prepared(product.x, product.weight, exact)
                if x != product.x:
                    ops.append(Prepare(product.x, (x,)))
                products.append(replace(product, x=x))
            op = MatMul(tuple(products))  # noqa: PLW2901
        elif isinstance(op, Logits):
            x = _prepared(op.x, op.weight, exact)
            if x != op.x:
                ops.append(Prepare(op.x, (x,)))
            op = replace(op, x=x)  # noqa: PLW2901
        elif isinstance(op, ExpertMatMul):
            ops += _prepared_for_experts(graph, op, exact)
            op = replace(op, x=_prepared(op.x, _like_experts(op, exact), exact))  # noqa: PLW2901
        ops.append(op)
    return Graph(tuple(ops))


def share_preparations(graph: Graph) -> Graph:
    """Prepares a value, and gathers it for experts, once per form and order: what read a later one reads the first."""
    first: dict[tuple[Value, str, str | None], Value] = {}
    substitutes: dict[Value, Value] = {}
    ops: list[Op] = []
    gathered: dict[tuple[Value, Value], Value] = {}
    for op in graph.ops:
        if isinstance(op, ExpertGather):
            x = substitutes.get(op.x, op.x)
            shared = gathered.setdefault((x, op.choices), op.out)
            if shared is op.out:
                ops.append(replace(op, x=x))
            else:
                substitutes[op.out] = shared
            continue
        if not isinstance(op, Prepare):
            ops.append(op.reading(substitutes))
            continue
        kept = []
        for form in op.forms:
            shared = first.setdefault((op.x, form.form, form.order), form)
            if shared is form:
                kept.append(form)
            else:
                substitutes[form] = shared
        if kept:
            ops.append(Prepare(op.x, tuple(kept)))
    return Graph(tuple(ops))


def fuse_preparations(graph: Graph) -> Graph:
    """Lets the norm, gated activation or sum that makes a value also write its prepared forms."""
    writers = graph.writers()
    ops: list[Op | None] = list(graph.ops)
    for index, op in enumerate(graph.ops):
        if not isinstance(op, Prepare) or op.x not in writers:
            continue
        producer = ops[writers[op.x]]
        if isinstance(producer, Norm | GatedActivation | Add):
            ops[writers[op.x]] = replace(producer, forms=producer.forms + op.forms)
            ops[index] = None
    return _without_holes(ops)


def fuse_residual_adds(graph: Graph) -> Graph:
    """Add of an older value and the result of a product, norm or sum of experts: that adds onto the value's buffer.

    Only where nothing else reads the result, and nothing reads the older value from there on: its buffer is
    overwritten.
    """
    ops: list[Op | None] = list(graph.ops)
    readers, writers = graph.readers(), graph.writers()
    for index, op in enumerate(graph.ops):
        if not isinstance(op, Add) or op.scale != 1:
            continue
        for result, residual in ((op.a, op.b), (op.b, op.a)):
            place = writers.get(result, -1)
            producer = ops[place] if place >= 0 else None
            if producer is None or residual in producer.reads() + producer.writes():
                continue
            written_before = writers.get(residual, -1) < place
            last_read = [reader for reader in readers[residual] if reader >= place] == [index]
            if written_before and last_read and readers[result] == [index] and residual.rows == result.rows:
                accumulating = _adding(producer, result, residual, op)
                if accumulating is not None:
                    ops[place], ops[index] = accumulating, None
                    break
    return _without_holes(ops)


def group_products(graph: Graph) -> Graph:
    """Joins neighbouring products that do not depend on each other (q, k, v; gate, up) into one operation."""
    ops: list[Op] = []
    for op in graph.ops:
        last = ops[-1] if ops else None
        if isinstance(op, MatMul) and isinstance(last, MatMul) and _independent(last, op):
            ops[-1] = MatMul(last.products + op.products)
        else:
            ops.append(op)
    return Graph(tuple(ops))


def drop_unread(graph: Graph) -> Graph:
    """Norms and gated activations of which only the prepared forms are read no longer write the plain result.

    Rows gathered for experts in a form that none of them reads are not gathered.
    """
    readers = graph.readers()
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, ExpertGather) and op.out not in readers:
            continue
        unread = isinstance(op, Norm | GatedActivation) and op.out is not None and op.forms and op.out not in readers
        onto_residual = isinstance(op, Norm) and op.residual is not None
        ops.append(replace(op, out=None) if unread and not onto_residual else op)  # type: ignore[call-arg]
    graph = Graph(tuple(ops))
    return graph if graph.readers().keys() == readers.keys() else drop_unread(graph)


def _like_experts(op: ExpertMatMul, exact: bool) -> Weight:
    """A weight that wants the same of its input as those of all experts."""
    wants = {("plain" if exact else weight.form, weight.order) for weight in op.weights}
    if len(wants) != 1:
        raise UnsupportedModelError(
            f"{op.weights[0].name} and its like with the other experts are quantised in ways that read their input in "
            f"different forms or orders ({len(wants)} kinds); all experts of a layer must read the same"
        )
    return op.weights[0]


def _prepared_for_experts(graph: Graph, op: ExpertMatMul, exact: bool) -> list[Op]:
    """What makes the input's form: rows are prepared before they are gathered, once for each token."""
    weight = _like_experts(op, exact)
    x = _prepared(op.x, weight, exact)
    if x == op.x:
        return []
    producer = graph.ops[graph.writers()[op.x]]
    if not isinstance(producer, ExpertGather):
        return [Prepare(op.x, (x,))]
    source = _prepared(producer.x, weight, exact)
    return [Prepare(producer.x, (source,)), replace(producer, x=source, out=x)]


def _adding(producer: Op, result: Value, residual: Value, add: Add) -> Op | None:
    """The producer of the result, adding it onto the residual; None where it cannot."""
    if isinstance(producer, Norm) and producer.residual is None and not producer.forms:
        return replace(producer, out=add.out, residual=residual, forms=add.forms)
    if add.forms:
        return None
    if isinstance(producer, ExpertSum) and producer.residual is None:
        return replace(producer, out=add.out, residual=residual)
    if isinstance(producer, MatMul):
        products = tuple(
            replace(p, out=add.out, residual=residual) if p.out == result and p.residual is None else p
            for p in producer.products
        )
        return MatMul(products) if products != producer.products else None
    return None


def _prepared(x: Value, weight: Weight, exact: bool) -> Value:
    """The value that a product of that matrix reads in place of x: x itself where form and order are right."""
    form: Form = "plain" if exact else weight.form
    if (x.form, x.order) == (form, weight.order):
        return x
    return replace(x, name=f"{x.name}.{form}({weight.name})", form=form, order=weight.order)


def _independent(first: MatMul, second: MatMul) -> bool:
    same_rows = first.writes()[0].rows == second.writes()[0].rows
    touched = set(second.reads()) | set(second.writes())
    overwritten = {p.residual for p in first.products if p.residual} | {
        p.residual for p in second.products if p.residual
    }
    read = {p.x for p in first.products + second.products}
    shared_residual = {p.residual for p in first.products if p.residual} & {
        p.residual for p in second.products if p.residual
    }
    return same_rows and not set(first.writes()) & touched and not overwritten & read and not shared_residual


def _without_holes(ops: list[Op | None]) -> Graph:
    return Graph(tuple(op for op in ops if op is not None))
