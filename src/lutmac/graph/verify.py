"""What must be true of a schedule after every pass."""

from __future__ import annotations

from lutmac.errors import LutmacError
from lutmac.graph.ir import Value
from lutmac.graph.operations.prepare import Prepare
from lutmac.graph.schedule import Call, Schedule

TABLE_GROUP = 32  # floats that share a scale in every form but plain


class InvalidGraphError(LutmacError):
    """A model's graph, or what a pass made of it, contradicts itself: a fault of lutmac, not of a checkpoint."""


def verify(schedule: Schedule) -> None:
    """Raises InvalidGraphError, naming the call.

    Every value is written once, before it is read, and not read when its buffer has gone to another; widths and forms
    fit; states that are read were stored; calls make only such use of an operation as it allows.
    """
    seen = _Seen()
    for index, call in enumerate(schedule.calls):
        seen.check(call)
        for fault in call.op.faults():
            _fail(call, fault)
        _check_residual(call)
        _check_forms(call)
        _check_neighbours(schedule, index)


class _Seen:
    """What the calls so far have written, given away and stored."""

    def __init__(self) -> None:
        self._written: dict[Value, Value] = {}
        self._overwritten: dict[Value, str] = {}
        self._stored: set[str] = set()

    def check(self, call: Call) -> None:
        """Checks the next call, and takes note of it."""
        for value in call.reads():
            self._check_read(call, value)
        for value in call.writes():
            if value in self._written:
                _fail(call, f"{value.name} is written twice")
            self._written[value] = value
        for result, value in call.taken_over().items():
            self._overwritten[value] = result.name
        for field, state in call.op.states().items():
            if field in call.op.STORES:
                self._stored.add(state.name)
            elif state.name not in self._stored:
                _fail(call, f"{state.name} is read before it is stored")

    def _check_read(self, call: Call, value: Value) -> None:
        if value not in self._written:
            _fail(call, f"{value.name} is read before it is written")
        if self._written[value] != value:
            _fail(call, f"{value.name} is {_shown(self._written[value])}, read as {_shown(value)}")
        if value in self._overwritten:
            _fail(call, f"{value.name} is read when {self._overwritten[value]} lies in its buffer")


def _check_residual(call: Call) -> None:
    if call.residual is not None:
        (out,) = call.op.writes()
        if not call.op.ADDS or (call.residual.width, call.residual.rows_of) != (out.width, out.rows_of):
            _fail(call, f"its result cannot be added onto {call.residual.name}")


def _check_forms(call: Call) -> None:
    """The forms that a call makes, and those that it reads."""
    op = call.op
    result = op.x if isinstance(op, Prepare) else op.writes()[0] if call.forms and op.writes() else None
    for form in call.forms:
        if not op.ROWWISE or result is None:
            _fail(call, f"it cannot make {form.name}")
        elif (form.width, form.rows_of) != (result.width, result.rows_of):
            _fail(call, f"{form.name} has other rows than {result.name}")
    for value in (*call.reads(), *call.writes()):
        if value.form != "plain" and value.width % TABLE_GROUP:
            _fail(call, f"{value.name} is {value.width} wide, not a multiple of {TABLE_GROUP}")
    allowed = {getattr(op, field) for field in (*op.wants(), *(op.MOVES or ()))}
    for value in (*op.reads(), *(op.writes() if call.plain else ())):
        if value.form != "plain" and value not in allowed:
            _fail(call, f"{value.name} is in the form {value.form}")


def _check_neighbours(schedule: Schedule, index: int) -> None:
    call = schedule.calls[index]
    if call.together and (index == 0 or not call.op.JOINS or type(call.op) is not type(schedule.calls[index - 1].op)):
        _fail(call, "it cannot run together with what is before it")
    if call.own and (call.plain or not call.forms or index + 1 == len(schedule.calls)):
        _fail(call, "nothing takes over the forms that it makes")


def _shown(value: Value) -> str:
    return f"[{value.rows} x {value.per_token}, {value.width}] {value.form} in order {value.order}"


def _fail(call: Call, message: str) -> None:
    written = ", ".join(value.name for value in call.writes()) or "nothing"
    raise InvalidGraphError(f"{call.op.name()}, which writes {written}: {message}")
