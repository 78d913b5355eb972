"""JSON schemas of real clients: what no grammar can check is left out and named, the rest binds, on every interface."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

HI = [{"role": "user", "content": "Name a colour."}]
PERSON = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green"], "format": "colour-name"},
        "tags": {"type": "array", "items": {"const": "x"}, "uniqueItems": True, "minItems": 1, "maxItems": 1},
        "id": {"type": "string", "pattern": r"^(?!x)\d$", "enum": ["7"]},
    },
    "required": ["colour", "tags", "id"],
    "additionalProperties": False,
    "propertyNames": {"maxLength": 9},
}
UNSUPPORTED = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
LEFT_OUT = {"format: colour-name", "uniqueItems", "propertyNames"}


def bodies(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    named = {"name": "x", "strict": True, "schema": schema}
    return {
        "/v1/chat/completions": {
            "messages": HI, "max_tokens": 60, "response_format": {"type": "json_schema", "json_schema": named},
        },
        "/v1/completions": {
            "prompt": "A colour:", "max_tokens": 60, "response_format": {"type": "json_schema", "json_schema": named},
        },
        "/v1/responses": {
            "input": HI, "max_output_tokens": 60, "text": {"format": {"type": "json_schema", **named}},
        },
        "/v1/messages": {
            "messages": HI, "max_tokens": 60, "output_config": {"format": {"type": "json_schema", "schema": schema}},
        },
    }  # fmt: skip


def text_of(path: str, reply: dict[str, Any]) -> str:
    match path:
        case "/v1/chat/completions":
            text = reply["choices"][0]["message"]["content"]
        case "/v1/completions":
            text = reply["choices"][0]["text"]
        case "/v1/responses":
            text = reply["output"][-1]["content"][0]["text"]
        case _:
            text = reply["content"][0]["text"]
    assert isinstance(text, str)
    return text


PATHS = list(bodies({}))


@pytest.mark.parametrize("path", PATHS)
def test_what_cannot_be_checked_is_left_out_and_the_rest_binds(http: httpx.Client, path: str) -> None:
    reply = http.post(path, json=bodies(PERSON)[path])
    assert reply.status_code == 200, reply.text
    found = json.loads(text_of(path, reply.json()))
    assert found["colour"] in ("red", "green")
    assert (found["tags"], found["id"]) == (["x"], "7")
    assert set(reply.headers["x-schema-left-out"].split(", ")) >= LEFT_OUT


@pytest.mark.parametrize("path", PATHS)
def test_a_keyword_that_changes_what_fits_is_refused_by_name(http: httpx.Client, path: str) -> None:
    reply = http.post(path, json=bodies(UNSUPPORTED)[path])
    assert reply.status_code == 400
    assert '"not"' in reply.json()["error"]["message"]


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, "strict": True}}


def test_a_tool_that_cannot_be_held_takes_any_object_and_the_others_stay_held(http: httpx.Client) -> None:
    tools = [tool("free", UNSUPPORTED), tool("held", PERSON)]
    for name in ("free", "held"):
        choice = {"type": "function", "function": {"name": name}}
        body = {"messages": HI, "max_tokens": 120, "tools": tools, "tool_choice": choice, "temperature": 0}
        reply = http.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        assert set(reply.headers["x-schema-left-out"].split(", ")) >= LEFT_OUT
        if name == "held":
            call = reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]
            assert json.loads(call["arguments"])["tags"] == ["x"]


def test_a_strict_server_refuses_both(serve: Any) -> None:
    with serve("--strict", "--name", "tiny").client() as http:
        for path in PATHS:
            reply = http.post(path, json=bodies(PERSON)[path])
            assert reply.status_code == 400
            assert "not supported" in reply.json()["error"]["message"]
