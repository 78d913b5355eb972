"""A reply that is a call or fits a schema, for the ways in which families of models write calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac.engine.constraint import compile_grammar
from lutmac.engine.grammar import Grammar
from lutmac.errors import InvalidRequestError
from lutmac.server.reply_format import call_or_text
from lutmac.server.tools import HERMES, LLAMA, MISTRAL, Tool, ToolFormat
from lutmac.text.tokenizer import Tokenizer

ADD = Tool("add", None, {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
PERSON = Grammar.json_schema({"$defs": {"n": {"enum": ["Ada"]}}, "properties": {"name": {"$ref": "#/$defs/n"}},
                              "type": "object", "required": ["name"], "additionalProperties": False})  # fmt: skip
# Where the markers are control tokens, as with many models; these two are SmolLM2's.
CONTROL = ToolFormat("hermes", "<repo_name>\n", "\n<file_sep>")
CALLS = [
    (HERMES, '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'),
    (LLAMA, '{"name": "add", "parameters": {"a": 1}}'),
    (MISTRAL, '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]'),
    (CONTROL, '<repo_name>\n{"name": "add", "arguments": {"a": 1}}\n<file_sep>'),
]


@pytest.fixture(scope="module")
def tokenizer(smollm2_path: Path) -> Tokenizer:
    return lutmac.load(smollm2_path).tokenizer


def fits(text: str, grammar: Grammar, tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text, and after them the end, are allowed one after the other."""
    constraint = compile_grammar(grammar, tokenizer)
    end = min(tokenizer.end_of_generation)
    for token in [*tokenizer.encode(text, parse_special=True, add_special=False), end]:
        if np.isneginf(constraint.masked(np.zeros(tokenizer.vocab_size, np.float32))[token]):
            return False
        constraint.accept(token)
    return True


@pytest.mark.parametrize(("format", "call"), CALLS)
def test_a_call_fits_and_so_does_the_text_and_nothing_else(format: ToolFormat, call: str, tokenizer: Tokenizer) -> None:
    grammar = call_or_text(format, [ADD], PERSON, tokenizer)
    assert fits(call, grammar, tokenizer)
    assert fits('{"name": "Ada"}', grammar, tokenizer)
    assert not fits("Ada", grammar, tokenizer)
    assert not fits('{"name": "Bob"}', grammar, tokenizer)
    assert not fits(call.replace("add", "subtract"), grammar, tokenizer)
    assert not fits(call.replace("1", '"one"'), grammar, tokenizer)
    assert not fits(call[: len(call) // 2], grammar, tokenizer)


def test_only_a_schema_can_stand_beside_a_call(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match="only a JSON schema"):
        call_or_text(HERMES, [ADD], Grammar.regex("a*"), tokenizer)
