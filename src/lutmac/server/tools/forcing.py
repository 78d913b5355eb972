"""Grammars of calls: what a reply is held to that has to call a tool, in the way of the model's family.

In Lark's notation, as llguidance reads it: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lutmac.engine.sampling.grammar import Grammar
from lutmac.engine.sampling.schema_support import binding_arguments
from lutmac.server.tools.calls import Tool
from lutmac.server.tools.families import Family
from lutmac.server.tools.tagged_values import Parameters

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

_DEFINITIONS: Final = ("$defs", "definitions")
_ARGUMENTS: Final = "arguments"
_IDENTIFIER: Final = "/[a-zA-Z0-9]{9}/"


def call_rules(family: Family, tools: Sequence[Tool], tokenizer: Tokenizer) -> str:
    """Lark rules of a call of one of the tools; ``call`` is the first.

    Each tool's arguments are a document of their own, so that what its schema refers to is found. Those that no grammar
    can be made for are any object.
    """
    writer = _RuleWriter(family, tokenizer)
    names = [f"call_{place}" for place in range(len(tools))]
    lines = [f"call: {' | '.join(names)}"]
    for name, tool in zip(names, tools, strict=True):
        lines.append(f"{name}: {writer.call(tool)}")
    return "\n".join([*lines, *writer.rules]) + "\n"


def literal(text: str, tokenizer: Tokenizer) -> str:
    """A text in Lark's notation: no text fits what the tokenizer has a control token for, that token does."""
    return " ".join(
        f"<[{part}]>" if isinstance(part, int) else json.dumps(part, ensure_ascii=False)
        for part in tokenizer.split_control(text)
        if part != ""
    )


def free_text(name: str, ending: str, tokenizer: Tokenizer) -> str:
    """A rule of any text up to and with its ending. name: of the rule."""
    written = literal(ending, tokenizer)
    if written.startswith("<["):
        return f"{name}: {name}_text {written}\n{name}_text: /(?s:.*)/"
    return f"{name}[suffix={written}]: /(?s:.*)/"


class _RuleWriter:
    """Writes the rules of calls. rules: those that calls refer to."""

    def __init__(self, family: Family, tokenizer: Tokenizer) -> None:
        self.rules: list[str] = []
        self._family = family
        self._tokenizer = tokenizer

    def call(self, tool: Tool) -> str:
        """The right side of a tool's rule."""
        before, identifier, rest = self._family.before.replace("NAME", tool.name).partition("IDENTIFIER")
        schema = binding_arguments(tool.parameters).schema
        if self._family.bare:
            return self._json(_bare_call(tool.name, self._family.arguments_key, schema))
        begin = [self._literal(before), _IDENTIFIER, self._literal(rest)] if identifier else [self._literal(before)]
        match self._family.style:
            case "json":
                arguments = self._json({"type": "object", **schema})
            case "tagged":
                arguments = self._tagged(schema)
            case "python":
                arguments = self._python(schema)
        return " ".join(filter(None, [*begin, arguments, self._literal(self._family.after)]))

    def _tagged(self, schema: Mapping[str, Any]) -> str:
        parameters = Parameters(Tool("", None, schema))
        before, after = self._family.parameter
        terms = []
        for name, value, required in _properties(schema):
            is_text = parameters.kinds(name) == {"string"}
            opening = self._literal(before.replace("KEY", name).replace("IS_TEXT", str(is_text).lower()))
            if is_text and not {"enum", "const"} & value.keys():
                rule = f"text_{len(self.rules)}"
                self.rules.append(free_text(rule, after, self._tokenizer))
                term = f"{opening} {rule}"
            else:
                term = f"{opening} {self._value(schema, value)} {self._literal(after)}"
            terms.append(term if required else f"({term})?")
        return " ".join(terms)

    def _value(self, schema: Mapping[str, Any], value: Mapping[str, Any]) -> str:
        """A value that is no free text: texts stand without quotes."""
        given = [value["const"]] if "const" in value else value.get("enum")
        if isinstance(given, list) and given and all(isinstance(item, str) for item in given):
            choices = [self._literal(item) or '""' for item in given]
            return f"({' | '.join(choices)})"
        return self._json(_document(schema, value))

    def _python(self, schema: Mapping[str, Any]) -> str:
        terms = [(f'"{name}=" {self._json(_document(schema, value))}', required)
                 for name, value, required in _properties(schema)]  # fmt: skip
        required = [term for term, needed in terms if needed]
        optional = [term for term, needed in terms if not needed]
        if required:
            return ' ", " '.join(required) + "".join(f' (", " {term})?' for term in optional)
        return "(" + " | ".join(optional) + ")?" if optional else ""

    def _literal(self, text: str) -> str:
        return literal(text, self._tokenizer)

    def _json(self, schema: Mapping[str, Any]) -> str:
        """The name of a rule for JSON of a schema."""
        rule = f"json_{len(self.rules)}"
        self.rules.append(Grammar.json_schema(schema).rules(rule))
        return rule


def _bare_call(name: str, key: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of a call that stands without marks: one lexer reads it and the answer that may stand in its place."""
    properties = {"name": {"const": name}, key: {"$ref": f"#/$defs/{_ARGUMENTS}"}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": {_ARGUMENTS: _moved({"type": "object", **schema}, f"#/$defs/{_ARGUMENTS}")},
    }


def _moved(value: Any, root: str) -> Any:
    """A schema with its references to its own root leading elsewhere."""
    if isinstance(value, Mapping):
        return {
            key: root + item[1:]
            if key == "$ref" and isinstance(item, str) and item.startswith("#")
            else _moved(item, root)
            for key, item in value.items()
        }
    return [_moved(item, root) for item in value] if isinstance(value, list) else value


def _properties(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], bool]]:
    """Name, schema, and whether it is required, of each argument; the required ones first."""
    given = schema.get("properties")
    properties = given if isinstance(given, Mapping) else {}
    required = schema.get("required") or ()
    found = [
        (name, value if isinstance(value, Mapping) else {}, name in required) for name, value in properties.items()
    ]
    return sorted(found, key=lambda item: not item[2])


def _document(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a schema as a document of its own, with what it may refer to."""
    return {**{key: schema[key] for key in _DEFINITIONS if key in schema}, **value}
