"""Options that travel together: a command takes them as one object, and the command line has a flag for each.

A command's parameter whose annotation is a group stands for the group's flags::

    def chat(model: Model, *, sampling: SamplingGroup, loading: Loading) -> None:

`expanded` gives typer the same command with the flags as its parameters. A group is a data class whose fields are
annotated as typer wants it and have defaults, or a class that makes its flags itself (`flags`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

Flags = list[inspect.Parameter]


class OptionGroup:
    """What the command line says about one thing."""

    @classmethod
    def flags(cls) -> Flags:
        """A keyword parameter for each flag: its name, annotation and default. Here: a data class's fields."""
        assert is_dataclass(cls)
        hints = get_type_hints(cls, include_extras=True)
        kind = inspect.Parameter.KEYWORD_ONLY
        return [
            inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
            for field in fields(cls)
        ]


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose groups are spread out, each in its place."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type[OptionGroup], list[str]]] = {}
    parameters: Flags = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and issubclass(hint, OptionGroup):
            flags = hint.flags()
            groups[parameter.name] = hint, [flag.name for flag in flags]
            parameters += flags
        else:
            parameters.append(parameter.replace(annotation=hint))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, (group, flags) in groups.items():
            given[name] = group(**{flag: given.pop(flag) for flag in flags})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    del run.__wrapped__  # typer would look at that one's annotations
    return run
