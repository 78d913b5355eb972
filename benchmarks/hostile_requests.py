"""Requests that are wrong, huge or costly, each as one attack of `hostile.py`, at sizes that hurt once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"


@dataclass(frozen=True)
class Attack:
    """A request that so many clients repeat at the same time."""

    name: str
    path: str
    body: bytes
    clients: int = 1


def attacks() -> Iterator[Attack]:
    """All of them."""
    yield Attack("a billion replies", CHAT, chat(n=1_000_000_000))
    yield Attack("three million replies", CHAT, chat(n=3_000_000))
    yield Attack("eight messages of 1.5 MB", CHAT, chat("1" * 1_500_000), clients=8)
    yield Attack("embeddings: four times 64 texts", EMBEDDINGS, embeddings(["word " * 200] * 64), clients=4)
    yield Attack("embeddings: a text of 7,000 tokens", EMBEDDINGS, embeddings(["word " * 7000]))
    yield Attack("embeddings: 2,000 texts of a token", EMBEDDINGS, embeddings(["a"] * 2000))
    yield Attack("embeddings: 600 texts of 300 tokens", EMBEDDINGS, embeddings(["river stone " * 150] * 600))
    yield Attack("embeddings: 2,048 long texts", EMBEDDINGS, embeddings(["word " * 400] * 2048))
    yield Attack("embeddings: 300,000 tokens", EMBEDDINGS, embeddings(["word " * 150] * 1900))
    yield from _long_texts()
    yield from _odd_json()
    yield from _numbers()
    yield from _choices()
    yield from _schemas()
    yield from _templates()


def chat(text: str = "hi", **fields: Any) -> bytes:
    """A chat of one message and a short reply."""
    return json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 4, **fields}).encode()


def embeddings(texts: list[str]) -> bytes:
    """A request for vectors."""
    return json.dumps({"input": texts}).encode()


def _with(field: str) -> bytes:
    """A chat with a field as it is written."""
    return chat()[:-1] + b", " + field.encode() + b"}"


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _long_texts() -> Iterator[Attack]:
    for name, text in (
        ("words", "a " * 2_000_000), ("one word", "a" * 4_000_000), ("spaces", " " * 4_000_000),
        ("newlines", "\n" * 1_900_000), ("digits", "1" * 4_000_000),
    ):  # fmt: skip
        yield Attack(f"a message of {name}, {len(text) / 1e6:.1f} MB", CHAT, chat(text))
    emoji = json.dumps("\U0001f468\u200d" * 250_000, ensure_ascii=False).encode()
    yield Attack("a message of emoji", CHAT, chat("X").replace(b'"X"', emoji))
    many = [{"role": "user", "content": "a"}] * 90_000
    yield Attack("90,000 messages", CHAT, json.dumps({"messages": many, "max_tokens": 1}).encode())
    for field in ("content", "prompt"):
        yield Attack(f"tokenize ({field}), 4 MB", "/tokenize", json.dumps({field: "a" * 4_000_000}).encode())
    yield Attack("detokenize a million", "/detokenize", json.dumps({"tokens": [1] * 1_000_000}).encode())


def _odd_json() -> Iterator[Attack]:
    yield Attack("messages 100,000 deep", CHAT, f'{{"messages": {_nested(100_000)}}}'.encode())
    yield Attack("a field a million deep", CHAT, f'{{"x": {_nested(1_000_000)}}}'.encode())
    yield Attack("a field 200,000 times", CHAT, _with(", ".join(['"max_tokens": 2'] * 200_000)))
    yield Attack("half a surrogate pair", CHAT, chat("\ud800"))
    yield Attack("a NUL character", CHAT, chat("a\0b"))
    yield Attack("no UTF-8", CHAT, chat("X").replace(b"X", b"\xff"))
    yield Attack("UTF-16", CHAT, chat().decode().encode("utf-16"))
    yield Attack("a byte order mark", CHAT, b"\xef\xbb\xbf" + chat())
    for name, value in (("5,000", "9" * 5000), ("a million", "9" * 1_000_000)):
        yield Attack(f"an integer of {name} digits", CHAT, _with(f'"seed": {value}'))
    yield Attack("a fraction of a million digits", CHAT, _with(f'"temperature": 0.{"9" * 1_000_000}'))
    mixed = [["a"], [1], {"x": 1}, None, "a", 1.5] * 100_000
    yield Attack("600,000 items of no type", COMPLETIONS, json.dumps({"prompt": mixed}).encode())
    yield Attack("a million texts", COMPLETIONS, json.dumps({"prompt": ["a"] * 800_000}).encode())


def _numbers() -> Iterator[Attack]:
    for value in ("NaN", "Infinity", "1e999", "1e-320", "1e-30"):
        yield Attack(f"temperature {value}", CHAT, _with(f'"temperature": {value}'))
    yield Attack("top_p 1e-300", CHAT, _with('"top_p": 1e-300'))
    yield Attack("repetition_penalty 1e-300", CHAT, _with('"repetition_penalty": 1e-300'))
    hot = '"repetition_penalty": 1e-300, "temperature": 2, "logprobs": true, "top_logprobs": 20'
    yield Attack("repetition_penalty 1e-300, hot", CHAT, _with(hot))
    for fields in (
        {"max_tokens": 2**31 - 1, "stop": ["."]}, {"max_tokens": -1, "stop": ["."]}, {"max_tokens": 2**31},
        {"max_tokens": 0}, {"n": 16}, {"n": 17}, {"top_k": 2**31 - 1}, {"top_k": 2**31},
        {"seed": -(2**63)}, {"seed": 2**64 - 1}, {"seed": 2**64}, {"seed": True}, {"seed": 1.0},
    ):  # fmt: skip
        yield Attack(", ".join(f"{name} {value}" for name, value in fields.items()), CHAT, chat(**fields))


def _choices() -> Iterator[Attack]:
    for count in (49_152, 1024):
        yield Attack(f"logit_bias of {count} tokens", CHAT, chat(logit_bias={str(id): -100 for id in range(count)}))
    for bias in ({"999999": 5}, {"01": 5, "1": -5}, {"\u0661": 5}):
        yield Attack(f"logit_bias {bias}", CHAT, chat(logit_bias=bias))
    stops = ["x" * 1023 + chr(0x4E00 + place) for place in range(1024)]
    yield Attack("1,024 stop strings of 1,024", CHAT, chat(stop=stops, max_tokens=50))
    yield Attack("a stop string of one letter", CHAT, chat(stop=["a" * 1024], max_tokens=50))
    for fields in (
        {"prompt": "a", "logprobs": 10**9}, {"prompt": [-1]}, {"prompt": [2**63]}, {"prompt": [True]},
        {"prompt": ["a"] * 64, "n": 16, "max_tokens": 1}, {"prompt": "a", "best_of": 100, "max_tokens": 1},
    ):  # fmt: skip
        name = ", ".join(f"{name} {str(value)[:20]}" for name, value in fields.items())
        yield Attack(f"completions: {name}", COMPLETIONS, json.dumps({"max_tokens": 2, **fields}).encode())
    for ids in ([2**40], [-1]):
        yield Attack(f"detokenize {ids}", "/detokenize", json.dumps({"tokens": ids}).encode())
    function = {
        "type": "object",
        "properties": {f"p{i}": {"type": "string", "pattern": "^[a-z]{1,50}$"} for i in range(60)},
    }
    tools = [{"type": "function", "function": {"name": f"f{i}", "parameters": function}} for i in range(128)]
    yield Attack("128 tools of 60 properties", CHAT, chat(tools=tools, tool_choice="required"))


def _schemas() -> Iterator[Attack]:
    for name, schema in _hostile_schemas().items():
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        yield Attack(f"schema: {name}", CHAT, chat(response_format=form, max_tokens=50))
    bound = '"schema": {"type": "number", "minimum": 1e400}'
    yield Attack(
        "schema: 1e400", CHAT, _with(f'"response_format": {{"type": "json_schema", "json_schema": {{{bound}}}}}')
    )


def _hostile_schemas() -> dict[str, Any]:
    names = [f"p{place}" for place in range(20_000)]
    texts = {name: {"type": "string"} for name in names}
    steps = {
        f"d{i}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{i + 1}"}] * 2, "minItems": 2} for i in range(30)
    }
    alternatives = [
        {
            "anyOf": [
                {"type": "object", "properties": {f"a{i}{j}": {"const": 1}}, "required": [f"a{i}{j}"]} for j in range(4)
            ]
        }
        for i in range(12)
    ]
    patterns = (
        "^(a+)+$",
        "^((a{1,100}){1,100}){1,100}$",
        "^(.*a.{200}|.*b.{200}|.*c.{200})$",
        "^(\\w|\\d|.)*[01].{20}$",
    )
    return {
        "50 deep": _deep_schema(50),
        "400 deep": _deep_schema(400),
        "20,000 properties": {"type": "object", "properties": texts},
        "20,000 required": {"type": "object", "properties": texts, "required": names, "additionalProperties": False},
        "50,000 values": {"enum": [f"value {place}" for place in range(50_000)]},
        "3,000 alternatives": {"anyOf": [_one_key(f"k{i}", {"type": "integer"}) for i in range(3000)]},
        "references that double": {"$defs": {**steps, "d30": {"type": "string"}}, "$ref": "#/$defs/d0"},
        "alternatives that multiply": {"allOf": alternatives},
        "a loop": {"$ref": "#"},
        "elsewhere": {"$ref": "http://127.0.0.1:9/x.json"},
        "a file": {"$ref": "file:///etc/passwd"},
        "a billion characters": {"type": "string", "minLength": 10**9},
        "100,000 characters": {"type": "string", "minLength": 100_000, "maxLength": 100_000},
        "a million items": {"type": "array", "items": {"type": "integer"}, "minItems": 10**6},
        **{f"pattern {pattern}": {"type": "string", "pattern": pattern} for pattern in patterns},
        "small steps": {"type": "number", "multipleOf": 1e-9, "minimum": 0, "maximum": 1e12},
        "a huge range": {"type": "integer", "minimum": -(10**300), "maximum": 10**300},
        "false": False,
        "nothing": {"type": "string", "enum": []},
    }  # fmt: skip


def _one_key(name: str, schema: Any) -> Any:
    return {"type": "object", "properties": {name: schema}, "required": [name]}


def _deep_schema(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "required": ["a"], "properties": {"a": schema}}
    return schema


def _templates() -> Iterator[Attack]:
    deep = f'"chat_template_kwargs": {{"a": {_nested(900)}}}'
    yield Attack("template: 900 deep", CHAT, _with(deep))
    parameters = f'[{{"type": "function", "function": {{"name": "f", "parameters": {{"a": {_nested(900)}}}}}}}]'
    yield Attack("a tool 900 deep", CHAT, _with(f'"tools": {parameters}'))
    for name, arguments in {
        "messages": {"messages": [{"role": "system", "content": "x"}]},
        "classes": {"a": "{{ ''.__class__.__mro__ }}", "tools": [1]},
        "self": {"loop": 1, "namespace": 1, "raise_exception": "x", "strftime_now": "x", "range": 5, "self": 1},
        "another template": {"chat_template": "{% for i in range(10**9) %}{% endfor %}"},
        "names": {"__class__": 1, "caller": 1, "": 1, "a b": 1},
    }.items():
        yield Attack(f"template: {name}", CHAT, chat(chat_template_kwargs=arguments))
    yield Attack("template: a message in Jinja", CHAT, chat("{{ 7*7 }}{% raw %}"))
