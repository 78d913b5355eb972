"""What the text of a reply has to fit, from the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lutmac.engine.grammar import Grammar
from lutmac.engine.schema_support import binding_schema, unsupported
from lutmac.server.backend import Backend, in_thread
from lutmac.server.errors import ApiError, missing_parameter
from lutmac.server.logs import RequestRecord
from lutmac.server.tools import Tool, ToolFormat

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer


async def format_grammar(
    type: Literal["text", "json_object", "json_schema"],
    schema: Mapping[str, Any] | None,
    param: str,
    backend: Backend,
    record: RequestRecord,
) -> Grammar | None:
    """The grammar of a form; None where all text fits.

    schema: for "json_schema", and where the client wishes for "json_object". param: where it is in the request. record:
    gets what of the schema is left out. Raises ApiError (400) where the schema is missing or no grammar can be made of
    it, and what the grammar raises.
    """
    if type == "text":
        return None
    if schema is None:
        if type == "json_object":
            return Grammar.json_object()
        raise missing_parameter(param)
    binding = binding_schema(schema)
    backend.omissions.leave_out_of_schema(binding.left_out, param, record)
    reason = await in_thread(unsupported, binding.schema)
    if reason is not None:
        raise ApiError(400, f"no grammar can be made of the schema: {reason}", code="invalid_schema", param=param)
    return Grammar.json_schema(binding.schema)


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
