"""Values that JSON cannot say or that nest without end, anywhere in a request to any endpoint: never an answer of 500.

Schemathesis finds none of what this finds. It makes values that fit an endpoint's schema, or miss it by a type or a
bound, and sends them through a serializer of its own: a NaN, a number beyond all floats, half a surrogate pair or nine
hundred levels are nothing that JSON Schema describes, so it makes none. Where the document says "any object" (a JSON
schema, a tool's parameters, metadata, template arguments) it has no reason to put more than a few plain values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import lutmac
from lutmac.server.app import create_app
from lutmac.server.settings import Settings
from tiny_llama import TinyLlama

MESSAGES = [{"role": "user", "content": "hi"}]
# What endpoints want between them; each takes what it knows.
PLAIN: dict[str, Any] = {
    "messages": MESSAGES, "prompt": "a", "input": "a", "max_tokens": 2, "max_output_tokens": 2, "n_predict": 2,
    "tokens": [1], "model": "tiny", "input_prefix": "a", "input_suffix": "b", "options": {"num_predict": 2},
}  # fmt: skip
CHATS = ("chat", "messages", "responses", "apply-template")  # of which a path holds one where it wants no prompt
NOT_JSON = frozenset({"/v1/files"})  # takes a form


class Raw(str):
    """JSON as it is written."""


RAW = [
    Raw(text)
    for text in ("NaN", "-Infinity", "1e400", "-1e999", "1e-400", "9" * 5000, "-0.0", '"\\ud83d"', '"\\udc00\\ud800"')
]


def nested(depth: int) -> Raw:
    return Raw('{"a":' * depth + "[" * depth + "]" * depth + "}" * depth)


NESTED = [nested(depth) for depth in (50, 70, 450, 900, 20_000)]
ODD = [
    None,
    True,
    0,
    -1,
    2**63,
    10**300,
    1e-46,
    1e308,
    "",
    "\0",
    "\ufeff",
    "\U0001f468\u200d",
    "self",
    [],
    {},
    [[]],
    {"": 1},
]
LEAVES = st.one_of(st.sampled_from(RAW), st.sampled_from(NESTED), st.sampled_from(ODD))
NAMES = st.sampled_from([
    "self", "", "a b", "\0", "__class__", "$ref", "type", "enum", "const", "minimum", "maximum", "multipleOf",
    "minLength",
    "pattern", "properties", "items", "required", "anyOf", "name", "parameters", "function", "content", "text", "role",
])  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def in_a_schema(tree: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": tree}, "required": ["a"]}


def shaped(field: str, tree: Any) -> Any:
    """The value where an endpoint looks for it."""
    schema = in_a_schema(tree)
    shapes: dict[str, Any] = {
        "messages": [{"role": "user", "content": tree}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}},
        "format": schema,
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "tools": [
            {"type": "function", "name": "f", "input_schema": schema, "parameters": schema,
             "function": {"name": "f", "description": "d", "parameters": schema}},
        ],
        "metadata": {"a": tree},
        "chat_template_kwargs": {"a": tree},
        "logit_bias": {"1": tree},
        "options": {"num_predict": 2, "temperature": tree},
        "input": [{"role": "user", "content": tree}],
        "prompt": [tree],
        "stop": [tree],
    }  # fmt: skip
    return shapes.get(field, tree)


def encode(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{encode(item)}" for key, item in value.items()) + "}"
    return "[" + ",".join(map(encode, value)) + "]" if isinstance(value, list) else json.dumps(value)


@pytest.fixture(scope="module")
def http(tiny: TinyLlama) -> Iterator[TestClient]:
    app = create_app(lutmac.load(tiny.path), Settings(names=("tiny",)))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def endpoints(http: TestClient) -> dict[str, list[str]]:
    """The fields of every endpoint that takes a body."""
    document = http.get("/openapi.json").json()
    found = {}
    for path, operations in document["paths"].items():
        if "post" in operations and "{" not in path and path not in NOT_JSON:
            content = operations["post"].get("requestBody", {}).get("content", {})
            name = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
            found[path] = sorted(document["components"]["schemas"].get(name, {}).get("properties", {}))
    return found


@pytest.mark.parametrize("examples", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_no_value_anywhere_is_answered_by_an_error_of_the_servers_own(
    http: TestClient, endpoints: dict[str, list[str]], examples: int
) -> None:
    assert len(endpoints) >= 8
    answered: set[str] = set()

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(endpoints)))
        fields = sorted({*endpoints[path], "metadata", "chat_template_kwargs", "nobody knows"})
        field, tree = data.draw(st.sampled_from(fields)), data.draw(TREES)
        value = shaped(field, tree) if data.draw(st.booleans()) else tree
        plain = {name: given for name, given in PLAIN.items() if name != "prompt" or not any(c in path for c in CHATS)}
        body = encode({**plain, field: value})
        reply = http.post(
            path, content=body.encode(errors="surrogatepass"), headers={"content-type": "application/json"}
        )
        assert reply.status_code < 500, (path, body[:500], reply.text)
        if reply.status_code == 400:
            assert "error" in reply.json(), (path, body[:500])
        answered.add(path)

    run()
    assert examples < 1000 or answered == endpoints.keys()


@pytest.mark.parametrize("tree", [*RAW, *NESTED], ids=lambda tree: tree[:12])
def test_each_value_in_each_place_where_any_object_goes(
    http: TestClient, endpoints: dict[str, list[str]], tree: Raw
) -> None:
    for path, field in (
        ("/v1/chat/completions", "response_format"), ("/v1/chat/completions", "tools"),
        ("/v1/chat/completions", "metadata"), ("/v1/chat/completions", "chat_template_kwargs"),
        ("/v1/responses", "text"), ("/v1/responses", "metadata"), ("/v1/messages", "tools"),
    ):  # fmt: skip
        plain = {name: value for name, value in PLAIN.items() if name != "prompt"}
        body = encode({**plain, field: shaped(field, tree)})
        reply = http.post(path, content=body.encode(), headers={"content-type": "application/json"})
        assert reply.status_code in (200, 400), (path, field, reply.text)
