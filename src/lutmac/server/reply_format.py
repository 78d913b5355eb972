"""What the text of a reply has to fit, from the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lutmac.engine.grammar import Grammar
from lutmac.server.errors import missing_parameter
from lutmac.server.tools import Tool, ToolFormat

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer


def format_grammar(
    type: Literal["text", "json_object", "json_schema"], schema: Mapping[str, Any] | None, param: str
) -> Grammar | None:
    """The grammar of a form; None where all text fits.

    schema: for "json_schema". param: where it is in the request. Raises ApiError (400) where it is missing, and what
    the grammar raises.
    """
    if type == "text":
        return None
    if type == "json_object":
        return Grammar.json_object()
    if schema is None:
        raise missing_parameter(param)
    return Grammar.json_schema(schema)


def call_or_text(format: ToolFormat, tools: Sequence[Tool], text: Grammar, tokenizer: Tokenizer) -> Grammar:
    """The grammar of a reply that either calls one of the tools, once, or is text that fits. text: a JSON schema."""
    call = Grammar.json_schema(format.schema(list(tools))).lark_term()
    opening, closing = _literal(format.opening, tokenizer), _literal(format.closing, tokenizer)
    return Grammar.lark(f"start: call | text\ncall: {opening} {call} {closing}\ntext: {text.lark_term()}\n")


def _literal(text: str, tokenizer: Tokenizer) -> str:
    """A marker with blanks around it, in Lark's notation: no text fits what the tokenizer has a control token for."""
    marker = text.strip()
    id = tokenizer.token_id(marker) if marker else None
    if id is None or not tokenizer.is_special(id):
        return json.dumps(text) if text else ""
    before, _, behind = text.partition(marker)
    return f"{_literal(before, tokenizer)} <[{id}]> {_literal(behind, tokenizer)}"
