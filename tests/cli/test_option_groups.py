"""Options that travel together: a flag for each, one object in the command."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from lutmac.cli import options
from lutmac.cli.option_groups import OptionGroup, expanded
from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.errors import InvalidRequestError


@dataclass(frozen=True)
class Paint(OptionGroup):
    colour: Annotated[str, typer.Option("--colour")] = "red"
    coats: Annotated[int, typer.Option("--coats", min=1)] = 2


taken: list[tuple[str, Paint, options.Sampling]] = []


def fence(name: str, *, paint: Paint, sampling: options.Sampling, dry: bool = False) -> None:
    """Paint a fence."""
    taken.append((name, paint, sampling))


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(expanded(fence))
    taken.clear()
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


def test_a_command_gets_its_groups_as_objects() -> None:
    assert run("mine", "--colour", "blue", "--top-k", "3", "--stop", "x", "--stop", "y") == (0, "")
    [(name, paint, sampling)] = taken
    assert (name, paint) == ("mine", Paint("blue", 2))
    assert sampling.arguments() == {"top_k": 3, "stop": ["x", "y"]}
    assert run("mine", "--coats", "0")[0] == 2


def test_flags_stand_where_their_group_stands() -> None:
    names = list(inspect.signature(expanded(fence)).parameters)
    assert names == ["name", "colour", "coats", "max_tokens", *SAMPLING_OPTIONS, "logit_bias", "stop", "dry"]
    assert "Paint a fence." in run("--help")[1]


def test_a_number_out_of_its_range_is_named_by_its_flag() -> None:
    for name, row in SAMPLING_OPTIONS.items():
        with pytest.raises(InvalidRequestError, match=f"^{row.flag} is .*, expected .* from "):
            options.Sampling(**{name: row.most + 1}).arguments()
