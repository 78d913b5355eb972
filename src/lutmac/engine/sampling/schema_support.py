"""Which part of a JSON schema a grammar can hold a reply to.

Clients make schemas from types (pydantic, zod, OpenAPI documents) and use words that no grammar can check. Some of
these can be left out without harm: what remains binds as before.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from lutmac.engine.sampling.grammar import JSON_LAYOUT
from lutmac.errors import InvalidRequestError

# Those that llguidance knows; `unknown` is its word for any text.
FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown",
})  # fmt: skip
_LEFT_OUT: Final = frozenset({"uniqueItems", "propertyNames"})
_SCHEMAS_BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_ONE_SCHEMA: Final = frozenset({
    "items", "additionalItems", "additionalProperties", "contains", "not", "if", "then", "else",
    "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_SCHEMA_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
# Look-around, a word boundary or a back-reference; a class or another escape, which may hold what looks like them.
_PATTERN_TOKENS: Final = re.compile(r"(?P<around>\(\?<?[=!]|\\[bB1-9]|\\k<)|\[(?:\\.|[^\]\\])*\]|\\.", re.DOTALL)
_CHECKED_SCHEMAS: Final = 256  # whose verdict is remembered: agents send the same tools with every request
ANY_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}


@dataclass(frozen=True)
class BindingSchema:
    """A schema without what no grammar can check. left_out: what that was, each once, such as ``format: password``."""

    schema: Mapping[str, Any]
    left_out: tuple[str, ...] = ()


def binding_schema(schema: Mapping[str, Any]) -> BindingSchema:
    """The part of a schema that binds.

    Left out are ``uniqueItems``, ``propertyNames``, formats that are not in FORMATS, and patterns that look around
    (``(?=``, ``\\b``) or back (``\\1``). ``oneOf`` becomes ``anyOf`` where a property tells its members apart, which
    changes nothing. Anything else stays as it is, whether a grammar can be made of it or not: see `unsupported`.
    """
    cleaner = _Cleaner(schema)
    found = cleaner.clean(schema)
    return BindingSchema(found, tuple(cleaner.left_out))


def binding_arguments(schema: Mapping[str, Any]) -> BindingSchema:
    """The part of a tool's parameters that binds: any object where the rest has a keyword that no grammar can check."""
    found = binding_schema(schema)
    reason = unsupported(found.schema)
    if reason is None:
        return found
    return BindingSchema(ANY_OBJECT, (*found.left_out, f"all of it ({reason})"))


def unsupported(schema: Mapping[str, Any]) -> str | None:
    """Why no grammar can be made of a schema, in one line; None where one can.

    Raises InvalidRequestError where llguidance is missing or the schema is no JSON.
    """
    try:
        return _unsupported(json.dumps(schema))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequestError(f"the JSON schema is not JSON: {error}") from None


@lru_cache(_CHECKED_SCHEMAS)
def _unsupported(text: str) -> str | None:
    try:
        from llguidance import LLMatcher, LLParserLimits  # noqa: PLC0415 (an extra)
    except ImportError:
        raise InvalidRequestError("grammars need llguidance: pip install 'lutmac[server]'") from None
    grammar = LLMatcher.grammar_from_json_schema(text, defaults=cast("Any", JSON_LAYOUT))
    limits = LLParserLimits(verbose_errors=False)
    wrong, messages = LLMatcher.validate_grammar_with_warnings(grammar, limits=limits)
    return messages[0].splitlines()[0] if wrong else None


class _Cleaner:
    """Copies a schema without what cannot be checked. left_out: in the order in which it was met."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.left_out: dict[str, None] = {}
        self._root = root

    def clean(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        found = {}
        for name, value in schema.items():
            if self._is_left_out(name, value, schema):
                continue
            found[name] = self._cleaned(name, value)
        if "oneOf" in found and "anyOf" not in found and self._is_told_apart(found["oneOf"]):
            found["anyOf"] = found.pop("oneOf")
        return found

    def _cleaned(self, name: str, value: Any) -> Any:
        if name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            return {key: self.clean(item) for key, item in value.items() if not self._is_odd_name(name, key)}
        if name in _SCHEMA_LISTS and isinstance(value, list):
            return [self.clean(item) for item in value]
        return self.clean(value) if name in _ONE_SCHEMA else value

    def _is_left_out(self, name: str, value: Any, schema: Mapping[str, Any]) -> bool:
        if name in _LEFT_OUT:
            what = name
        elif name == "format" and isinstance(value, str) and value not in FORMATS and _may_be_text(schema):
            what = f"format: {value}"
        elif name == "pattern" and isinstance(value, str) and looks_around(value):
            what = "pattern with look-around, word boundaries or back-references"
        else:
            return False
        self.left_out[what] = None
        return True

    def _is_odd_name(self, name: str, key: str) -> bool:
        if name != "patternProperties" or not looks_around(key):
            return False
        self.left_out["patternProperties with look-around, word boundaries or back-references"] = None
        return True

    def _is_told_apart(self, members: Any) -> bool:
        """Whether one property, required in each member, has values in each that no other member has."""
        if not isinstance(members, list):
            return False
        tables = [self._constants(member) for member in members]
        for name in set.intersection(*map(set, tables)) if tables else ():
            values = [value for table in tables for value in table[name]]
            if len(values) == len(set(values)):
                return True
        return False

    def _constants(self, member: Any) -> dict[str, list[str]]:
        """The required properties of an object that have only certain values, and these as JSON."""
        member = self._resolved(member)
        properties, required = member.get("properties"), member.get("required")
        if member.get("type") != "object" or not isinstance(properties, Mapping) or not isinstance(required, list):
            return {}
        found = {}
        for name, value in properties.items():
            if name in required and isinstance(value, Mapping):
                values = [value["const"]] if "const" in value else value.get("enum")
                if isinstance(values, list):
                    found[name] = [json.dumps(item, sort_keys=True) for item in values]
        return found

    def _resolved(self, member: Any) -> Mapping[str, Any]:
        """What a reference within the schema refers to; a schema that is no reference is itself."""
        found: Any = member
        if isinstance(member, Mapping) and isinstance(member.get("$ref"), str):
            found = self._root
            for key in member["$ref"].removeprefix("#/").split("/"):
                found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def looks_around(pattern: str) -> bool:
    """Whether a regular expression has look-around, word boundaries or back-references outside of a class."""
    return any(token["around"] for token in _PATTERN_TOKENS.finditer(pattern))


def _may_be_text(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", "string")
    return "string" in kinds if isinstance(kinds, list) else kinds == "string"
