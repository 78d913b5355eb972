"""What the text of a reply has to fit, from the form that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from lutmac.engine.grammar import Grammar
from lutmac.server.errors import ApiError


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
        raise ApiError(400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    return Grammar.json_schema(schema)
