"""Replies that fit a grammar, whatever the model would rather say."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import pytest

import lutmac
from lutmac import Grammar
from lutmac.errors import InvalidRequestError

pytest.importorskip("llguidance", reason="grammars need the extra `server`")

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}},
    "$ref": "#/$defs/node",
}


def reply(model: lutmac.Model, grammar: Grammar, seed: int = 1, **options: object) -> lutmac.Completion:
    return model.generate("Tell me", grammar=grammar, seed=seed, **{"temperature": 1.5, "max_tokens": 300, **options})


@pytest.mark.parametrize("seed", range(5))
def test_a_schema_is_kept(tiny_model: lutmac.Model, seed: int) -> None:
    """The tiny model knows nothing: only the grammar can make JSON of it."""
    completion = reply(tiny_model, Grammar.json_schema(PERSON), seed)
    found = json.loads(completion.text)
    assert set(found) == {"name", "age"}
    assert isinstance(found["name"], str)
    assert 0 <= found["age"] <= 150
    assert completion.finish_reason == "stop"
    assert re.fullmatch(r'\{"name": ?".*", ?"age": ?\d+\}', completion.text), "white space that nobody needs"


def test_a_regex_and_a_lark_grammar_are_kept(tiny_model: lutmac.Model) -> None:
    pattern = r"[a-c]{3}-[0-9]+(\.[0-9]{2})?"
    completion = reply(tiny_model, Grammar.regex(pattern), logit_bias={ord("."): 20.0})
    assert re.fullmatch(pattern, completion.text)
    lark = 'start: "<" word ("," word)* ">"\nword: /[xyz]+/'
    assert re.fullmatch("<[xyz]+(,[xyz]+)*>", reply(tiny_model, Grammar.lark(lark), logit_bias={ord(">"): 5.0}).text)


def test_json_mode_gives_an_object(smollm2_path: Path) -> None:
    model = lutmac.load(smollm2_path)
    messages = [{"role": "user", "content": "Describe Paris as JSON with the keys city and country."}]
    completion = model.chat(messages, grammar=Grammar.json_object(), temperature=0, max_tokens=120)
    assert completion.finish_reason == "length" or isinstance(json.loads(completion.text), dict)
    assert completion.text.lstrip().startswith("{")


def test_bits_are_the_same_in_company(tiny_model: lutmac.Model) -> None:
    alone = [reply(tiny_model, Grammar.json_schema(PERSON), seed).text for seed in range(4)]
    streams = [
        tiny_model.stream("Tell me", grammar=Grammar.json_schema(PERSON), seed=seed, temperature=1.5, max_tokens=300)
        for seed in range(4)
    ]
    for stream in streams:
        next(stream)
    completions = [list(stream)[-1].completion for stream in streams]
    assert [completion.text for completion in completions if completion is not None] == alone


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar.json_schema({"type": "integer", "minimum": 5, "maximum": 3}),
        Grammar.json_schema({"enum": []}),
        Grammar.json_schema({"$ref": "#"}),
        Grammar.json_schema({"type": "no such type"}),
        Grammar.regex("[^\\s\\S]"),
        Grammar.regex("(unclosed"),
        Grammar.lark("start: a\na: a"),
        Grammar.lark("no grammar"),
        Grammar.lark(""),
    ],
    ids=lambda grammar: grammar.text[:30],
)
def test_what_cannot_be_satisfied_is_an_error_of_one_line(tiny_model: lutmac.Model, grammar: Grammar) -> None:
    with pytest.raises(InvalidRequestError, match="the grammar cannot be") as caught:
        reply(tiny_model, grammar)
    assert "\n" not in str(caught.value)


def test_a_schema_that_recurses_for_ever_ends_with_length(tiny_model: lutmac.Model) -> None:
    completion = reply(tiny_model, Grammar.json_schema(TREE), max_tokens=50)
    assert (completion.finish_reason, len(completion.token_ids)) == ("length", 50)


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar.regex("(((a|b){1,1000}){1,1000}){1,1000}c"),
        Grammar.regex("(a?){5000}(a|b|ab){1,5000}"),
        Grammar.json_schema({"enum": [f"value {n}" for n in range(20_000)]}),
        Grammar.json_schema({"allOf": [{"properties": {f"p{n}": {"type": ["string", "null"]}}} for n in range(500)]}),
        Grammar.lark("start: " + " | ".join(f'"a{n}" start "b"' for n in range(500)) + ' | ""'),
    ],
    ids=range(5),
)
def test_a_huge_grammar_takes_bounded_time(tiny_model: lutmac.Model, grammar: Grammar) -> None:
    """Either it works or it is refused; seconds are allowed to a slow machine, not minutes."""
    began = perf_counter()
    with suppress(InvalidRequestError):
        reply(tiny_model, grammar, max_tokens=10)
    assert perf_counter() - began < 20


def test_what_is_no_grammar_is_an_error(tiny_model: lutmac.Model) -> None:
    deep = '{"items":' * 5000 + "{}" + "}" * 5000
    for make in (
        lambda: Grammar.json_schema("{"),
        lambda: Grammar.json_schema("[]"),
        lambda: Grammar.json_schema({"a": object()}),
        lambda: reply(tiny_model, Grammar.json_schema(deep)),
        lambda: Grammar.regex("a" * (1 << 20) + "a"),
        lambda: Grammar.regex(b"a"),  # type: ignore[arg-type]
        lambda: tiny_model.stream("a", grammar="a*"),  # type: ignore[typeddict-item]
    ):
        with pytest.raises(InvalidRequestError):
            make()


def test_without_llguidance_the_error_says_what_to_install(
    tiny_model: lutmac.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'lutmac\[server\]'"):
        reply(tiny_model, Grammar.json_object())
