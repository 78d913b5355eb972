"""Grammars that a reply can be held to. What makes masks of them is `constraint.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lutmac.errors import InvalidRequestError

MAX_GRAMMAR_BYTES = 1 << 20
# JSON on one line, a blank at most behind commas and colons: a small model goes on with white space wherever it may,
# and lines and indentation are a third of the tokens. A schema that says otherwise (in "x-guidance") has its way.
JSON_LAYOUT: Final[Mapping[str, Any]] = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
}
# The first rule's name in Lark's notation; a text or an expression, which may hold the same word.
_RULE_NAMES: Final = re.compile(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\\n])+/|\bstart\b')


@dataclass(frozen=True)
class Grammar:
    """What the text of a reply has to fit, from its first token to its end token.

    kind: the language of ``text``. Make one with ``json_object``, ``json_schema``, ``regex`` or ``lark``. The grammar
    is compiled when the first request uses it; only then is a mistake in it found. Raises InvalidRequestError for a
    text of over a megabyte.
    """

    kind: Literal["json_schema", "regex", "lark"]
    text: str

    def __post_init__(self) -> None:
        """Checks the type and the length of the text."""
        if not isinstance(self.text, str):
            raise InvalidRequestError(f"a grammar is text, not {type(self.text).__name__}")
        size = len(self.text.encode(errors="replace"))
        if size > MAX_GRAMMAR_BYTES:
            raise InvalidRequestError(f"the grammar has {size} bytes, at most {MAX_GRAMMAR_BYTES} are taken")

    @classmethod
    def json_object(cls) -> Grammar:
        """Any JSON object."""
        return cls.json_schema({"type": "object"})

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str) -> Grammar:
        """JSON on one line that fits a schema (https://json-schema.org), given as a mapping or as JSON.

        Raises InvalidRequestError for what is no JSON object.
        """
        try:
            found = json.loads(schema) if isinstance(schema, str) else schema
            text = json.dumps(found)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidRequestError(f"the JSON schema is not JSON: {error}") from None
        if not isinstance(found, Mapping):
            raise InvalidRequestError(f"a JSON schema is an object, not {type(found).__name__}")
        return cls("json_schema", text)

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """Text that a regular expression matches as a whole, in the syntax of Rust's regex crate."""
        return cls("regex", pattern)

    @classmethod
    def lark(cls, text: str) -> Grammar:
        """A context-free grammar in Lark's notation; its start rule is ``start``."""
        return cls("lark", text)

    @classmethod
    def gbnf(cls, text: str) -> Grammar:
        """A context-free grammar in the notation of llama.cpp's grammars, or in Lark's.

        Raises InvalidRequestError for what is neither, and where llguidance is missing.
        """
        try:
            from llguidance.gbnf_to_lark import any_to_lark  # noqa: PLC0415 (an extra)
        except ImportError:
            raise InvalidRequestError("grammars need llguidance: pip install 'lutmac[server]'") from None
        try:
            return cls.lark(any_to_lark(cls.lark(text).text))
        except Exception as error:  # llguidance raises just that
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidRequestError(f"the grammar cannot be read: {reason}") from None

    @classmethod
    def choice(cls, texts: Sequence[str]) -> Grammar:
        """One of several texts. Raises InvalidRequestError where there are none."""
        if not texts:
            raise InvalidRequestError("a choice needs at least one text")
        return cls.lark("start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts))

    def rules(self, name: str) -> str:
        """The grammar as rules in Lark's notation, to be part of another. name: of the rule that it begins with."""
        match self.kind:
            case "json_schema":
                return f"{name}: %json " + json.dumps({"x-guidance": JSON_LAYOUT, **json.loads(self.text)})
            case "regex":
                return f"{name}: /" + re.sub(r"(\\.)|/", lambda found: found[1] or "\\/", self.text) + "/"
            case "lark":
                return _RULE_NAMES.sub(lambda found: name if found[0] == "start" else found[0], self.text)
