"""What must be true of a schedule after every pass."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.errors import LutmacError
from lutmac.graph.ir import Value
from lutmac.graph.operations.prepare import Prepare
from lutmac.graph.schedule import Call, Schedule

TABLE_GROUP = 32  # floats that share a scale in every form but plain


class InvalidGraphError(LutmacError):
    """A graph or schedule contradicts itself: a fault of lutmac, not of a checkpoint."""


class Verifier:
    """Checks the schedule after each pass. Calls that were checked before are not checked again."""

    def __init__(self) -> None:
        """Without calls that were checked."""
        self._known: dict[int, _Facts] = {}  # by the call's id: it holds the call, so that no other gets that id

    def verify(self, schedule: Schedule) -> None:
        """Raises InvalidGraphError, naming the call.

        Every value is written once, before it is read, and not read when its buffer has gone to another; widths and
        forms fit; states that are read were stored; calls make only such use of an operation as it allows.
        """
        seen = _Seen()
        for index, call in enumerate(schedule.calls):
            seen.check(self._facts(call))
            if call.together or call.own:
                _check_neighbours(schedule, index)

    def _facts(self, call: Call) -> _Facts:
        facts = self._known.get(id(call))
        if facts is None:
            facts = self._known[id(call)] = _Facts.of(call)
        return facts


@dataclass(frozen=True)
class _Facts:
    """What a call says of itself. Computed once, since passes leave most calls unchanged."""

    call: Call
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    taken_over: dict[Value, Value]
    states_stored: tuple[str, ...]
    states_read: tuple[str, ...]

    @classmethod
    def of(cls, call: Call) -> _Facts:
        """Raises InvalidGraphError if the call contradicts itself."""
        for fault in call.op.faults():
            _fail(call, fault)
        _check_residual(call)
        _check_forms(call)
        states = call.op.states()
        stored = tuple(state.name for field, state in states.items() if field in call.op.STORES)
        read = tuple(state.name for field, state in states.items() if field not in call.op.STORES)
        return cls(call, call.reads(), call.writes(), call.taken_over(), stored, read)


class _Seen:
    """What the calls so far have written, overwritten and stored."""

    def __init__(self) -> None:
        self._written: dict[Value, Value] = {}
        self._overwritten: dict[Value, str] = {}
        self._stored: set[str] = set()

    def check(self, facts: _Facts) -> None:
        """Checks the next call and records it."""
        call = facts.call
        for value in facts.reads:
            self._check_read(call, value)
        for value in facts.writes:
            if value in self._written:
                _fail(call, f"{value.name} is written twice")
            self._written[value] = value
        for result, value in facts.taken_over.items():
            self._overwritten[value] = result.name
        self._stored.update(facts.states_stored)
        for state in facts.states_read:
            if state not in self._stored:
                _fail(call, f"{state} is read before it is stored")

    def _check_read(self, call: Call, value: Value) -> None:
        written = self._written.get(value)
        if written is None:
            _fail(call, f"{value.name} is read before it is written")
        elif written is not value and written != value:
            _fail(call, f"{value.name} is {_shown(written)}, read as {_shown(value)}")
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
