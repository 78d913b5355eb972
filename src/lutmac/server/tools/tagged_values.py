"""Values between tags: text as it is where the tool's schema wants a string, JSON where it wants anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lutmac.server.tools.calls import Tool
from lutmac.server.tools.lenient_json import Write, quoted, value
from lutmac.server.tools.source import Parse, Source

_KINDS: Final = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array",
                 type(None): "null"}  # fmt: skip
_EVERY: Final = frozenset(_KINDS.values())
_MAX_DEPTH: Final = 20


class Parameters:
    """What a tool's schema says about the kinds of its arguments."""

    def __init__(self, tool: Tool | None) -> None:
        """tool: None where the model made its name up."""
        self._root: Mapping[str, Any] = tool.parameters if tool is not None else {}

    def kinds(self, name: str, says_string: str | None = None) -> frozenset[str]:
        """JSON types that an argument may have. says_string: "true" or "false" where the model says it itself."""
        if says_string is not None:
            return frozenset({"string"}) if says_string == "true" else _EVERY - {"string"}
        properties = self._root.get("properties")
        schema = properties.get(name) if isinstance(properties, Mapping) else None
        return self._of(schema, 0)

    def _of(self, schema: Any, depth: int) -> frozenset[str]:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return _EVERY
        if isinstance(schema.get("$ref"), str):
            return self._of(self._referred(schema["$ref"]), depth + 1)
        if isinstance(schema.get("type"), str | list):
            types = schema["type"]
            return frozenset([types] if isinstance(types, str) else filter(lambda kind: isinstance(kind, str), types))
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                return frozenset().union(*(self._of(item, depth + 1) for item in schema[key]))
        given = [schema["const"]] if "const" in schema else schema.get("enum")
        return frozenset(_KINDS.get(type(item), "string") for item in given) if isinstance(given, list) else _EVERY

    def _referred(self, reference: str) -> Any:
        found: Any = self._root
        for key in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        return found


def tagged_value(
    source: Source, write: Write, kinds: frozenset[str], ends: Sequence[str], following: Sequence[str]
) -> Parse[None]:
    """Reads a value up to its closing tag; writes it as JSON, text at once.

    ends: closing tags. following: what may stand behind them, blanks aside; where anything else does, the tag is text.
    """
    if kinds == {"string"}:
        write('"')
        yield from _text(source, lambda text: write(quoted(text)), ends, following)
        write('"')
    else:
        parts: list[str] = []
        yield from _text(source, parts.append, ends, following)
        write(_as_json("".join(parts), kinds))


def _text(source: Source, write: Write, ends: Sequence[str], following: Sequence[str]) -> Parse[None]:
    """The text of a value. A line break behind the opening tag and one before the closing tag belong to the tags."""
    padded = bool((yield from source.take(["\n", "\r\n"])))
    while True:
        tag = source.text.find("<", source.place)
        plain = source.text[source.place : tag if tag >= 0 else None].rstrip("\r\n")
        write(plain)
        source.place += len(plain)
        breaks = yield from source.word("\r\n")
        if not (yield from source.peek()):
            source.end()
        if (yield from _ends(source, ends, following)):
            write(breaks[: len(breaks) - _last_break(breaks)] if padded else breaks)
            return
        write(breaks)
        if source.text[source.place] == "<":
            write("<")
            source.place += 1


def _ends(source: Source, ends: Sequence[str], following: Sequence[str]) -> Parse[bool]:
    """Whether the value ends here, at the end of the text too; passes over its closing tag."""
    begin = source.place
    closed = yield from source.take(ends)
    if closed:
        yield from source.skip()
    if not (yield from source.peek()):
        return True
    if closed and (yield from source.starts(following)):
        return True
    source.place = begin
    return False


def _last_break(breaks: str) -> int:
    return 2 if breaks.endswith("\r\n") else len(breaks[-1:])


def _as_json(text: str, kinds: frozenset[str]) -> str:
    """A value as JSON: what it is by itself if the schema allows that, else a string if it allows one."""
    try:
        found = json.loads(text)
        kind = _KINDS[type(found)]
        if kind in kinds or (kind == "integer" and "number" in kinds):
            return json.dumps(found, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        pass
    if "string" in kinds:
        return f'"{quoted(text)}"'
    written: list[str] = []
    source = Source(text, closed=True)
    next(value(source, written.append), None)
    return "".join(written) if not text[source.place :].strip() else f'"{quoted(text)}"'
