"""What of a schema binds: words that no grammar can check are left out and named, the rest stays."""

from __future__ import annotations

from typing import Any

import pytest

from lutmac.engine.sampling.schema_support import (
    ANY_OBJECT,
    FORMATS,
    binding_arguments,
    binding_schema,
    looks_around,
    unsupported,
)

pytest.importorskip("llguidance")


@pytest.mark.parametrize(
    ("schema", "binding", "left_out"),
    [
        ({"type": "string", "format": "password", "maxLength": 9}, {"type": "string", "maxLength": 9}, "format: pass"),
        ({"type": "array", "uniqueItems": True, "maxItems": 2}, {"type": "array", "maxItems": 2}, "uniqueItems"),
        ({"type": "object", "propertyNames": {"pattern": "a"}}, {"type": "object"}, "propertyNames"),
        ({"type": "string", "pattern": "^(?=.*a).+$"}, {"type": "string"}, "pattern with look-around"),
        ({"type": "string", "pattern": r"\bword\b"}, {"type": "string"}, "pattern with look-around"),
        ({"type": ["string", "null"], "format": "byte"}, {"type": ["string", "null"]}, "format: byte"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_left_out_and_named(
    schema: dict[str, Any], binding: dict[str, Any], left_out: str
) -> None:
    found = binding_schema(schema)
    assert found.schema == binding
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith(left_out)
    assert unsupported(found.schema) is None


def test_it_is_left_out_wherever_a_schema_may_stand() -> None:
    odd = {"type": "string", "format": "x"}
    places: dict[str, Any] = {
        "properties": {"format": odd, "uniqueItems": odd}, "$defs": {"a": odd}, "definitions": {"a": odd},
        "items": odd, "prefixItems": [odd], "anyOf": [odd], "allOf": [odd], "oneOf": [odd],
        "additionalProperties": odd, "patternProperties": {"^a": odd}, "not": odd,
    }  # fmt: skip
    found = binding_schema(places)
    assert found.left_out == ("format: x",)
    assert "'x'" not in str(found.schema)
    assert found.schema["properties"].keys() == {"format", "uniqueItems"}


def test_data_in_a_schema_is_no_schema() -> None:
    data = {"enum": [{"format": "x", "uniqueItems": True}], "default": {"propertyNames": 1}, "const": {"format": "x"}}
    assert binding_schema(data).schema == data


def test_a_number_keeps_its_format() -> None:
    assert binding_schema({"type": "integer", "format": "int32"}).left_out == ()


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_the_known_formats_are_those_that_grammars_take(format: str) -> None:
    assert unsupported({"type": "string", "format": format}) is None


@pytest.mark.parametrize("format", ["idn-email", "uri-reference", "json-pointer", "regex", "byte"])
def test_other_formats_are_not(format: str) -> None:
    assert unsupported({"type": "string", "format": format}) is not None


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("(?=a)", True), ("(?!a)b", True), ("(?<=a)b", True), ("(?<!a)b", True), (r"\ba", True), (r"\Ba", True),
        (r"(a)\1", True), (r"(?<n>a)\k<n>", True), ("[(?=]+", False), (r"\\b", False), ("(?:a|b)", False),
        ("(?<name>a)", False), (r"^\d+\.\d*$", False), (r"[\]\b]a", False), (r"\(\?=", False),
    ],
)  # fmt: skip
def test_what_looks_around(pattern: str, found: bool) -> None:
    assert looks_around(pattern) is found


def test_members_that_a_property_tells_apart_may_be_any_of_them() -> None:
    """As pydantic writes a discriminated union."""

    def member(kind: str) -> dict[str, Any]:
        return {"type": "object", "properties": {"kind": {"const": kind, "type": "string"}}, "required": ["kind"]}

    schema = {"$defs": {k: member(k) for k in "ab"}, "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}
    assert unsupported(schema) is not None
    found = binding_schema(schema)
    assert found.left_out == ()
    assert unsupported(found.schema) is None
    alike = {"oneOf": [member("a"), member("a")]}
    assert binding_schema(alike).schema == alike


def test_arguments_that_no_grammar_can_check_are_any_object() -> None:
    found = binding_arguments({"type": "object", "not": {"required": ["a"]}})
    assert found.schema == ANY_OBJECT
    assert '"not"' in found.left_out[-1]
    assert binding_arguments({"type": "object", "properties": {"a": {"type": "integer"}}}).left_out == ()
