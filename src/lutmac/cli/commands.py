"""Which commands there are, and where each is. A command's module is imported when it is about to run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import typer

from lutmac.cli.option_groups import expanded


@dataclass(frozen=True)
class Place:
    """Where a command is: a module of this package, and the function's or the group's name in it.

    command_class: the name of a class of its own for it, in the same module.
    """

    module: str
    name: str
    hidden: bool = False
    command_class: str | None = None


COMMANDS: Final = {
    "run": Place("run", "run", command_class="RunCommand"),
    "chat": Place("chat", "chat"),
    "serve": Place("serve", "serve"),
    "batch": Place("batch", "batch"),
    "info": Place("info", "info"),
    "pull": Place("pull", "pull"),
    "list": Place("list", "list_models"),
    "rm": Place("rm", "rm"),
    "show": Place("info", "info", hidden=True),  # what others call it
    "convert": Place("convert", "convert"),
    "quantize": Place("quantize", "quantize"),
    "bench": Place("bench", "bench"),
    "tune": Place("tune", "tune"),
    "eval": Place("eval", "eval_app"),
    "version": Place("version", "version", hidden=True),
}


def needed_commands(arguments: list[str]) -> list[str]:
    """The command that a command line begins with, or all where none is named, such as for help."""
    return arguments[:1] if arguments and arguments[0] in COMMANDS else list(COMMANDS)


def add_commands(app: typer.Typer, names: Iterable[str]) -> None:
    """Gives the application these commands."""
    for name in names:
        place = COMMANDS[name]
        module = import_module(f"lutmac.cli.{place.module}")
        command = getattr(module, place.name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            command_class = getattr(module, place.command_class) if place.command_class else None
            app.command(name, cls=command_class, hidden=place.hidden)(expanded(command))
