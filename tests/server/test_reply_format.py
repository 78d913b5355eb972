"""A reply that is a call or fits a schema, in the ways of families of models, behind thoughts too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tool_formats import BY_NAME

import lutmac
from lutmac.engine.sampling.constraint import compile_grammar
from lutmac.engine.sampling.grammar import Grammar
from lutmac.server.reply_format import ReplyForm, reply_grammar
from lutmac.server.tools import CallEnd, ReplyParser, Tool
from lutmac.server.tools.thoughts import HARMONY, THINK, ThoughtMarks
from lutmac.text.tokenizer import Tokenizer

CITY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TRIP = Tool("book", None, {
    "$defs": {"City": CITY, "Kind": {"enum": ["bus", "train"]}},
    "type": "object", "required": ["start", "seats", "note"], "additionalProperties": False,
    "properties": {"start": {"$ref": "#/$defs/City"}, "seats": {"type": "integer"}, "note": {"type": "string"},
                   "kind": {"$ref": "#/$defs/Kind"}, "way": {"enum": ["a", "b"]}},
})  # fmt: skip
ADD = Tool("add", None, {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
ODD = Tool("odd", None, {"type": "object", "properties": {"a": {"not": {"type": "string"}}}})  # no grammar checks it
PERSON = Grammar.json_schema({"$defs": {"n": {"enum": ["Ada"]}}, "properties": {"name": {"$ref": "#/$defs/n"}},
                              "type": "object", "required": ["name"], "additionalProperties": False})  # fmt: skip
ARGUMENTS: dict[str, Any] = {"start": {"name": "Rome"}, "seats": 2, "note": 'a </b> " c'}
# Where the markers are control tokens, as with many models; these two are SmolLM2's.
CONTROL = ThoughtMarks("<repo_name>", "<file_sep>")


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


def written(name: str) -> str:
    """A call of `book` in a family's way."""
    family = BY_NAME[name]
    before = family.before.replace("NAME", "book").replace("IDENTIFIER", "abcdef123")
    start, note = '{"name": "Rome"}', ARGUMENTS["note"]
    match family.style:
        case "json":
            return family.write("book", ARGUMENTS)
        case "python":
            return f'{before}start={start}, seats=2, note="a </b> \\" c"{family.after}'
    opening, closing = family.parameter
    values = {"start": start, "seats": "2", "note": note}
    return before + "".join(
        opening.replace("KEY", key).replace("IS_TEXT", str(key == "note").lower()) + value + closing
        for key, value in values.items()
    ) + family.after  # fmt: skip


@pytest.mark.parametrize("name", BY_NAME)
def test_a_forced_call_is_written_in_the_familys_way_and_read_back(name: str, tokenizer: Tokenizer) -> None:
    call, family = written(name), BY_NAME[name]
    grammar = reply_grammar(ReplyForm(family, [ADD, TRIP]), tokenizer)
    assert fits(call, grammar, tokenizer)
    assert not fits(call.replace("book", "hook"), grammar, tokenizer)
    assert not fits(call.replace("2", '"two"'), grammar, tokenizer)
    assert not fits(call[: len(call) // 2], grammar, tokenizer)
    assert not fits("Ada", grammar, tokenizer)
    parser = ReplyParser(family, {"book": TRIP, "add": ADD}, ())
    found = [part.call for part in parser.push(call) + parser.close() if isinstance(part, CallEnd)]
    assert [(part.name, json.loads(part.arguments)) for part in found] == [("book", ARGUMENTS)]


@pytest.mark.parametrize("name", ["hermes", "llama", "mistral", "qwen3-coder", "glm"])
def test_a_call_fits_and_so_does_the_text_and_nothing_else(name: str, tokenizer: Tokenizer) -> None:
    grammar = reply_grammar(ReplyForm(BY_NAME[name], [TRIP], PERSON), tokenizer)
    assert fits(written(name), grammar, tokenizer)
    assert fits('{"name": "Ada"}', grammar, tokenizer)
    assert not fits("Ada", grammar, tokenizer)
    assert not fits('{"name": "Bob"}', grammar, tokenizer)


@pytest.mark.parametrize("marks", [THINK, CONTROL])
def test_thoughts_are_free_and_what_follows_them_is_bound(marks: ThoughtMarks, tokenizer: Tokenizer) -> None:
    opened = ReplyForm(BY_NAME["hermes"], [ADD], PERSON, thinking=marks)
    may_open = ReplyForm(BY_NAME["hermes"], [ADD], PERSON, may_open=(marks, ThoughtMarks("<a>", "</a>")))
    thoughts, person, call = (
        'Well, {"name": 1} <',
        '{"name": "Ada"}',
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
    )
    for body, right in ((person, True), (call, True), ("Ada", False), ('{"name": "Bob"}', False), ("", False)):
        for blanks in ("", "\n\n"):
            behind = f"{thoughts}{marks.closing}{blanks}{body}"
            assert fits(behind, reply_grammar(opened, tokenizer), tokenizer) == right
            assert fits(marks.opening + behind, reply_grammar(may_open, tokenizer), tokenizer) == right
    assert fits(person, reply_grammar(may_open, tokenizer), tokenizer)
    assert not fits(person, reply_grammar(opened, tokenizer), tokenizer)
    assert not fits(thoughts, reply_grammar(opened, tokenizer), tokenizer)


def test_every_kind_of_grammar_goes_behind_thoughts(tokenizer: Tokenizer) -> None:
    for grammar, right, wrong in (
        (Grammar.regex("a/b|c"), "a/b", "a"),
        (Grammar.choice(["start", 'st"art']), "start", "x"),
        (Grammar.lark('start: start_2 | "b"\nstart_2: "a" /start/\n'), "astart", "start"),
        (Grammar.json_object(), "{}", "[]"),
    ):
        form = ReplyForm(BY_NAME["hermes"], text=grammar, thinking=THINK)
        assert fits(f"hm</think>{right}", reply_grammar(form, tokenizer), tokenizer)
        assert not fits(f"hm</think>{wrong}", reply_grammar(form, tokenizer), tokenizer)


def test_harmony_answers_in_its_channels(tokenizer: Tokenizer) -> None:
    grammar = reply_grammar(ReplyForm(BY_NAME["harmony"], [], PERSON, may_open=(HARMONY,)), tokenizer)
    answer = '<|channel|>final<|message|>{"name": "Ada"}'
    assert fits(answer, grammar, tokenizer)
    assert fits(f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{answer}", grammar, tokenizer)
    assert not fits('{"name": "Ada"}', grammar, tokenizer)


def test_a_tool_that_no_grammar_can_hold_takes_any_object_and_the_others_stay_bound(tokenizer: Tokenizer) -> None:
    grammar = reply_grammar(ReplyForm(BY_NAME["llama"], [ADD, ODD]), tokenizer)
    assert fits('{"name": "odd", "parameters": {"b": "any"}}', grammar, tokenizer)
    assert fits('{"name": "add", "parameters": {"a": 1}}', grammar, tokenizer)
    assert not fits('{"name": "add", "parameters": {"a": "any"}}', grammar, tokenizer)


def test_a_text_alone_is_bound_as_before(tokenizer: Tokenizer) -> None:
    assert reply_grammar(ReplyForm(BY_NAME["hermes"], text=PERSON), tokenizer) is PERSON
