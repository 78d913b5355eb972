"""Where the messages of a chat lie in the text that a template makes of them.

Few templates say what of their text a model is to generate. But nearly all write messages in a loop. So a template is
compiled with marks around the passes of its loops: pieces of output that are empty, so that they cannot change what is
rendered, even where a template looks at it or trims it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from jinja2 import nodes

from lutmac.text.rendered import MessagePlace

BEGIN_FILTER: Final = "*message*"  # filter names that no template can write
END_FILTER: Final = "*messages end*"


class Mark(str):
    """An empty piece of output: a pass of a loop begins or, without a role, ends.

    loop: the number of the loop in the template. role: that of the message over which the loop goes.
    """

    __slots__ = ("loop", "role")
    loop: int
    role: str

    def __new__(cls, loop: int, role: str = "") -> Self:
        """An empty text."""
        mark = super().__new__(cls)
        mark.loop, mark.role = loop, role
        return mark

    def __str__(self) -> str:
        """Itself: this is how it gets through Jinja's output."""
        return self


def mark_loop(loop: nodes.For, number: int) -> list[nodes.Node]:
    """A loop with marks in front of each pass and behind the last."""
    if not isinstance(loop.target, nodes.Name):
        return [loop]
    item = nodes.Name(loop.target.name, "load", lineno=loop.lineno)
    loop.body.insert(0, _output(item, BEGIN_FILTER, number, loop.lineno))
    return [loop, _output(nodes.Const("", lineno=loop.lineno), END_FILTER, number, loop.lineno)]


def begin_mark(item: Any, loop: int) -> str:
    """What is put out in front of a pass of a loop: a mark where the loop goes over messages."""
    role = item.get("role") if isinstance(item, Mapping) else None
    return Mark(loop, role) if isinstance(role, str) else ""


def place_messages(marks: Iterable[tuple[int, Mark]]) -> tuple[MessagePlace, ...]:
    """Messages in the order in which they begin; of those within others only the outer. marks: with their offsets."""
    begun: dict[int, MessagePlace] = {}
    found = []
    for offset, mark in marks:
        if (place := begun.pop(mark.loop, None)) is not None:
            found.append(MessagePlace(place.role, place.begin, offset))
        if mark.role:
            begun[mark.loop] = MessagePlace(mark.role, offset, offset)
    outer: list[MessagePlace] = []
    for place in sorted(found, key=lambda place: (place.begin, -place.end)):
        if place.begin < place.end and (not outer or place.begin >= outer[-1].end):
            outer.append(place)
    return tuple(outer)


def _output(value: nodes.Expr, name: str, number: int, line: int) -> nodes.Output:
    arguments: list[nodes.Expr] = [nodes.Const(number, lineno=line)]
    return nodes.Output([nodes.Filter(value, name, arguments, [], None, None, lineno=line)], lineno=line)
