"""Options of `lutmac run` that hold a reply to a form."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lutmac.cli.option_groups import OptionGroup
from lutmac.cli.prompt import read_text
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac import Grammar

JsonSchema = Annotated[
    str | None,
    typer.Option("--json-schema", metavar="FILE|TEXT", help="Reply with JSON that fits this schema (extra `server`)."),
]
GrammarText = Annotated[
    str | None,
    typer.Option("--grammar", metavar="FILE|TEXT", help="Reply by this grammar, in llama.cpp's notation or Lark's."),
]
Regex = Annotated[
    str | None, typer.Option("--regex", metavar="PATTERN", help="Reply with a text that matches as a whole.")
]
Choice = Annotated[
    list[str] | None, typer.Option("--choice", metavar="TEXT", help="Reply with one of these texts; repeatable.")
]
_GRAMMAR_RULE: Final = re.compile(r"::=|^\s*[?!]?\w+\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Constraints(OptionGroup):
    """What a reply has to fit."""

    json_schema: JsonSchema = None
    grammar: GrammarText = None
    regex: Regex = None
    choice: Choice = None

    @property
    def given(self) -> list[str]:
        """The flags that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]

    def make(self) -> Grammar | None:
        """The grammar; None where there is none. What of a schema no grammar can hold is said on the error stream.

        Raises InvalidRequestError for several, for what cannot be read or used, and where llguidance is missing.
        """
        if not self.given:
            return None
        if len(self.given) > 1:
            raise InvalidRequestError(f"{' and '.join(self.given)}: a reply can be held to one form")
        from lutmac.engine.sampling.constraint import check_grammar  # noqa: PLC0415 - help texts need no engine

        grammar = self._grammar()
        check_grammar(grammar)
        return grammar

    def _grammar(self) -> Grammar:
        from lutmac.engine.sampling.grammar import Grammar  # noqa: PLC0415

        if self.json_schema is not None:
            return _schema_grammar(_file_or_text(self.json_schema, "--json-schema", re.compile(r"^\s*[{\[]")))
        if self.grammar is not None:
            return Grammar.gbnf(_file_or_text(self.grammar, "--grammar", _GRAMMAR_RULE))
        if self.regex is not None:
            return Grammar.regex(self.regex)
        return Grammar.choice(self.choice or [])


def _schema_grammar(text: str) -> Grammar:
    from lutmac.engine.sampling.grammar import Grammar  # noqa: PLC0415
    from lutmac.engine.sampling.schema_support import binding_schema  # noqa: PLC0415

    binding = binding_schema(json.loads(Grammar.json_schema(text).text))
    if binding.left_out:
        print(f"lutmac: warning: no grammar can hold {', '.join(binding.left_out)}", file=sys.stderr)
    return Grammar.json_schema(binding.schema)


def _file_or_text(value: str, flag: str, looks_like_text: re.Pattern[str]) -> str:
    """The text of the file of that name, or the text itself."""
    if os.path.exists(value):  # Path.exists raises for what is too long for a name
        return read_text(Path(value))
    if not looks_like_text.search(value):
        raise InvalidRequestError(f"{flag} {value!r} is neither a file nor such a text")
    return value
