"""The passes between a model's graph and its program: each takes a schedule and returns one that computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Form, Graph, Value, Weight
from lutmac.graph.operations.activation import Activation
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.gated_activation import GatedActivation
from lutmac.graph.operations.hadamard import Hadamard
from lutmac.graph.operations.hidden_states import HiddenStates
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.multiply import Multiply
from lutmac.graph.operations.prepare import Prepare
from lutmac.graph.schedule import Call, Schedule
from lutmac.graph.verify import Verifier

Pass = Callable[[Schedule], Schedule]


def optimize(graph: Graph, *, exact: bool) -> Schedule:
    """Runs all passes in order and verifies the schedule after each of them.

    exact: products read plain floats, so that only permuted inputs are prepared.
    """
    passes: list[Pass] = [
        expose_hidden_states,
        fuse_gated_activations,
        *([] if exact else [drop_rounding]),
        lambda schedule: prepare_inputs(schedule, exact=exact),
        share_preparations,
        fuse_preparations,
        fuse_residual_adds,
        group_products,
        drop_unread,
        mark_own_forms,
    ]
    schedule, verifier = Schedule.of(graph), Verifier()
    verifier.verify(schedule)
    for change in passes:
        schedule = change(schedule)
        verifier.verify(schedule)
    return schedule


def expose_hidden_states(schedule: Schedule) -> Schedule:
    """Copies out the input of the head, as it is before any preparation and rotation.

    Models of whole texts say themselves what is copied out: their heads read something else.
    """
    if any(isinstance(call.op, HiddenStates) for call in schedule.calls):
        return schedule
    writers = schedule.writers()
    calls: list[Call] = []
    for call in schedule.calls:
        if isinstance(call.op, Logits):
            maker = schedule.calls[writers[call.op.x]].op
            calls.append(Call(HiddenStates(maker.x if isinstance(maker, Hadamard) else call.op.x)))
        calls.append(call)
    return Schedule(tuple(calls))


def fuse_gated_activations(schedule: Schedule) -> Schedule:
    """Makes an Activation and the Multiply that reads it one GatedActivation, if nothing else reads the activation."""
    readers, writers = schedule.readers(), schedule.writers()
    calls: list[Call | None] = list(schedule.calls)
    for index, call in enumerate(schedule.calls):
        op = call.op
        if not isinstance(op, Multiply):
            continue
        for gate, up in ((op.a, op.b), (op.b, op.a)):
            producer = schedule.calls[writers[gate]].op
            if isinstance(producer, Activation) and readers[gate] == [index]:
                calls[index] = Call(GatedActivation(producer.kind, producer.x, up, op.out))
                calls[writers[gate]] = None
                break
    return Schedule.without_holes(calls)


def drop_rounding(schedule: Schedule) -> Schedule:
    """Lets readers of a rounded value read the value itself: tables round less than int8 does."""
    substitutes: dict[Value, Value] = {}
    calls: list[Call] = []
    for call in schedule.calls:
        if call.op.IDEAL:
            substitutes[call.op.writes()[0]] = call.op.reads()[0]
        else:
            calls.append(call.reading(substitutes))
    return Schedule(tuple(calls))


def prepare_inputs(schedule: Schedule, *, exact: bool = False) -> Schedule:
    """Puts a Prepare in front of every call that wants a value in another form or order than it has.

    If the rows of a value were moved, the rows are prepared once, before they are moved. exact: products want plain
    floats.
    """
    writers = schedule.writers()
    calls: list[Call] = []
    for call in schedule.calls:
        substitutes: dict[Value, Value] = {}
        for name, weights in call.op.wants().items():
            x = getattr(call.op, name)
            wanted = _prepared(x, _like_all(weights, exact), exact)
            if wanted != x:
                substitutes[x] = wanted
                calls += _preparation(schedule.calls[writers[x]], x, wanted)
        calls.append(call.reading(substitutes))
    return Schedule(tuple(calls))


def share_preparations(schedule: Schedule) -> Schedule:
    """Keeps the first of several equal preparations (and moves of prepared rows); later readers read that one."""
    prepared: dict[tuple[Value, Form, str | None], Value] = {}
    moved: dict[tuple[str, tuple[Value, ...]], Value] = {}
    substitutes: dict[Value, Value] = {}
    calls: list[Call] = []
    for call in schedule.calls:
        now = call.reading(substitutes)
        if now.op.MOVES:
            (out,) = now.op.writes()
            shared = moved.setdefault((now.op.name(), now.op.reads()), out)
            if shared is not out:
                substitutes[out] = shared
                continue
        if isinstance(now.op, Prepare):
            kept = []
            for form in now.forms:
                shared = prepared.setdefault((now.op.x, form.form, form.order), form)
                if shared is form:
                    kept.append(form)
                else:
                    substitutes[form] = shared
            if not kept:
                continue
            now = replace(now, forms=tuple(kept))
        calls.append(now)
    return Schedule(tuple(calls))


def fuse_preparations(schedule: Schedule) -> Schedule:
    """Lets the operation that makes the rows of a value also write its prepared forms."""
    writers = schedule.writers()
    calls: list[Call | None] = list(schedule.calls)
    for index, call in enumerate(schedule.calls):
        if not isinstance(call.op, Prepare):
            continue
        producer = calls[writers[call.op.x]]
        if producer is not None and producer.op.ROWWISE:
            calls[writers[call.op.x]] = replace(producer, forms=producer.forms + call.forms)
            calls[index] = None
    return Schedule.without_holes(calls)


def fuse_residual_adds(schedule: Schedule) -> Schedule:
    """Lets an operation that makes one term of an Add write onto the buffer of the older term.

    Only if nothing else reads the result, and nothing reads the older value later: its buffer is overwritten.
    """
    calls: list[Call | None] = list(schedule.calls)
    readers, writers = schedule.readers(), schedule.writers()
    for index, call in enumerate(schedule.calls):
        op = call.op
        if not isinstance(op, Add) or op.scale != 1:
            continue
        for result, residual in ((op.a, op.b), (op.b, op.a)):
            place = writers[result]
            producer = calls[place]
            if producer is None or residual in producer.reads() + producer.writes():
                continue
            written_before = writers[residual] < place
            last_read = [reader for reader in readers[residual] if reader >= place] == [index]
            if written_before and last_read and readers[result] == [index] and residual.rows_of == result.rows_of:
                accumulating = _adding(producer, residual, call)
                if accumulating is not None:
                    calls[place], calls[index] = accumulating, None
                    break
    return Schedule.without_holes(calls)


def group_products(schedule: Schedule) -> Schedule:
    """Lets neighbouring products that do not depend on each other run side by side (q, k, v; gate, up)."""
    calls: list[Call] = []
    group: list[Call] = []
    for call in schedule.calls:
        if group and call.op.JOINS and type(call.op) is type(group[0].op) and _independent(group, call):
            call = replace(call, together=True)  # noqa: PLW2901
        else:
            group = []
        group = [*group, call] if call.op.JOINS else []
        calls.append(call)
    return Schedule(tuple(calls))


def drop_unread(schedule: Schedule) -> Schedule:
    """Drops what nothing reads: plain results of which only prepared forms are read, and forms of moved rows."""
    readers = schedule.readers()
    calls: list[Call] = []
    for call in schedule.calls:
        unread = not any(value in readers for value in call.op.writes())
        if call.op.MOVES and unread:
            continue
        drops = call.op.ROWWISE and unread and call.forms and call.residual is None
        calls.append(replace(call, plain=False) if drops else call)
    after = Schedule(tuple(calls))
    return after if after.readers().keys() == readers.keys() else drop_unread(after)


def mark_own_forms(schedule: Schedule) -> Schedule:
    """Marks calls whose forms each thread of the following product makes for itself in steps of one row; see Call.

    All inputs of the product must come from such a call, and nothing else may read them. The product must not write
    over the values that the forms are made of, since a thread may make its forms late.
    """
    readers = schedule.readers()
    calls = list(schedule.calls)
    for index, call in enumerate(schedule.calls[:-1]):
        end = schedule.end_of_phase(index + 1)
        phase = schedule.calls[index + 1 : end]
        takes = all(set(reader.op.reads()) <= set(call.forms) for reader in phase if reader.op.wants())
        if (
            call.op.ROWWISE
            and call.forms
            and not call.plain
            and takes
            and all(reader.op.wants() and not reader.op.MOVES for reader in phase)
            and all(place < end for form in call.forms for place in readers[form])
            and not any(reader.residual in call.reads() for reader in phase)
        ):
            calls[index] = replace(call, own=True)
    return Schedule(tuple(calls))


def _like_all(weights: tuple[Weight, ...], exact: bool) -> Weight:
    """One of the weights, if all of them want their input in the same form and order."""
    wants = {("plain" if exact else weight.form, weight.order) for weight in weights}
    if len(wants) != 1:
        raise UnsupportedModelError(
            f"{weights[0].name} and its like with the other experts are quantised in ways that read their input in "
            f"different forms or orders ({len(wants)} kinds); all experts of a layer must read the same"
        )
    return weights[0]


def _prepared(x: Value, weight: Weight, exact: bool) -> Value:
    """The value that a product of that matrix reads in place of x: x itself if form and order are right."""
    form: Form = "plain" if exact else weight.form
    if (x.form, x.order) == (form, weight.order):
        return x
    return replace(x, name=f"{x.name}.{form}({weight.name})", form=form, order=weight.order)


def _preparation(producer: Call, x: Value, wanted: Value) -> list[Call]:
    """The call that makes the wanted form of x."""
    if producer.op.MOVES is None:
        return [Call(Prepare(x), forms=(wanted,))]
    source_field, out_field = producer.op.MOVES
    source = getattr(producer.op, source_field)
    prepared = replace(wanted, name=f"{source.name}{wanted.name.removeprefix(x.name)}", per_token=source.per_token)
    moved = replace(producer.op, **{source_field: prepared, out_field: wanted})
    return [Call(Prepare(source), forms=(prepared,)), Call(moved)]


def _adding(producer: Call, residual: Value, add: Call) -> Call | None:
    """The call that makes a result, changed to add it onto the residual; None if it cannot."""
    if not producer.op.ADDS or producer.residual is not None or producer.forms:
        return None
    if add.forms and not producer.op.ROWWISE:
        return None
    (out,) = add.op.writes()
    return replace(producer, op=replace(producer.op, out=out), residual=residual, forms=add.forms)  # type: ignore[call-arg]


def _independent(group: list[Call], call: Call) -> bool:
    """Whether a call may run at the same time as those of a group."""
    both = [*group, call]
    same_rows = group[0].op.writes()[0].rows_of == call.op.writes()[0].rows_of
    written = {value for other in group for value in other.writes()}
    touched = set(call.reads()) | set(call.writes())
    residuals = [other.residual for other in both if other.residual]
    read = {value for other in both for value in other.op.reads()}
    return same_rows and not written & touched and not read & set(residuals) and len(set(residuals)) == len(residuals)
