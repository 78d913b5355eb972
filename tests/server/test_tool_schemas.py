"""Schemas of tools as pydantic makes them, with definitions and references, on the three interfaces."""

from __future__ import annotations

import json
from typing import Any, Literal

import httpx
import pytest
from pydantic import BaseModel, ConfigDict


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["Rome", "Oslo"]


class Trip(BaseModel):
    model_config = ConfigDict(extra="forbid")
    start: City
    end: City


ASKED = [{"role": "user", "content": "Book a trip from Rome to Oslo."}]
# strict, cache_control and keywords that nobody knows are taken.
FUNCTION = {"name": "book", "parameters": {**Trip.model_json_schema(), "x-unknown": 1}, "strict": True}
OTHER = {"name": "other", "parameters": {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}}
FORM = {"name": "t", "schema": Trip.model_json_schema(), "strict": True}
TOOLS = [{"type": "function", "function": function} for function in (FUNCTION, OTHER)]
LONG = {"temperature": 0, "max_tokens": 120}


def check(name: str, arguments: str | dict[str, Any]) -> None:
    assert name == "book"
    Trip.model_validate(json.loads(arguments) if isinstance(arguments, str) else arguments)


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "function": {"name": "book"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "book"}}]}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [None, {"type": "json_schema", "json_schema": FORM}])
def test_chat_completions(http: httpx.Client, choice: Any, form: Any) -> None:
    body = {"messages": ASKED, "tools": TOOLS, "tool_choice": choice, "response_format": form, **LONG}
    reply = http.post("/v1/chat/completions", json=body).json()
    (call,) = reply["choices"][0]["message"]["tool_calls"]
    check(call["function"]["name"], call["function"]["arguments"])


def test_chat_completions_with_one_required_tool(http: httpx.Client) -> None:
    body = {"messages": ASKED, "tools": TOOLS[:1], "tool_choice": "required", **LONG}
    (call,) = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["tool_calls"]
    check(call["function"]["name"], call["function"]["arguments"])


def test_responses(http: httpx.Client) -> None:
    tools = [{"type": "function", **function} for function in (FUNCTION, OTHER)]
    body = {"input": ASKED, "tools": tools, "temperature": 0, "max_output_tokens": 120}
    choice = {"type": "function", "name": "book"}
    form = {"format": {"type": "json_schema", **FORM}}
    for more in ({}, {"text": form}):
        (call,) = http.post("/v1/responses", json={**body, "tool_choice": choice, **more}).json()["output"]
        check(call["name"], call["arguments"])


def test_messages(http: httpx.Client) -> None:
    tool = {"name": "book", "input_schema": FUNCTION["parameters"], "cache_control": {"type": "ephemeral"}}
    for choice in ({"type": "any"}, {"type": "tool", "name": "book"}):
        body = {"messages": ASKED, "tools": [tool], "tool_choice": choice, **LONG}
        (block,) = http.post("/v1/messages", json=body).json()["content"]
        check(block["name"], block["input"])


def test_a_tool_that_no_grammar_can_check_is_called_with_any_object(http: httpx.Client) -> None:
    choice = {"type": "function", "function": {"name": "other"}}
    reply = http.post("/v1/chat/completions", json={"messages": ASKED, "tools": TOOLS, "tool_choice": choice, **LONG})
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "other"
