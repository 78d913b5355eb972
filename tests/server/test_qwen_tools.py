"""A real model that calls tools as it likes, and thinks where its template lets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from starlette.testclient import TestClient

import lutmac
from lutmac.server.app import create_app
from lutmac.server.settings import Settings
from lutmac.text import ChatTemplate
from lutmac.text.chat import CHATML
from serving import Served, start

pytestmark = pytest.mark.slow
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Current weather of a city", "parameters": PARAMETERS}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
ASKED: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
# What the template opens, and what the model is told.
BEGUN = CHATML.replace("assistant\\n' }}", "assistant\\n<think>\\n' }}")
THINK_FIRST = "First think step by step, then write </think> on a line of its own, then give the final answer."
THINK_BETWEEN = "Write your thoughts between <think> and </think>, then the final answer."
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer", "maximum": 99}}, "required": ["answer"],
          "additionalProperties": False}  # fmt: skip


@pytest.fixture(scope="module")
def qwen(qwen_coder_path: Path) -> Iterator[Served]:
    server = start(qwen_coder_path, "--name", "qwen", "--context", "2048", patience=120)
    yield server
    server.process.kill()


def test_the_model_calls_a_tool_as_it_likes_through_the_openai_sdk(qwen: Served) -> None:
    """It writes a bare object or a fenced one, without the marks of its template."""
    client = openai.OpenAI(base_url=f"{qwen.url}/v1", api_key="none", max_retries=0)
    options: Any = {"model": "qwen", "tools": TOOLS, "tool_choice": "auto", "temperature": 0, "max_tokens": 80}
    choice = client.chat.completions.create(messages=ASKED, **options).choices[0]
    (call,) = choice.message.tool_calls or ()
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")

    deltas = [chunk.choices[0] for chunk in client.chat.completions.create(messages=ASKED, stream=True, **options)]
    pieces = [piece.function for delta in deltas for piece in delta.delta.tool_calls or []]
    assert "".join(piece.arguments or "" for piece in pieces if piece) == call.function.arguments
    assert deltas[-1].finish_reason == "tool_calls"

    result: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"celsius": 18, "sky": "sunny"}'}
    answer = client.chat.completions.create(messages=[*ASKED, choice.message, result], **options).choices[0]
    assert "18" in (answer.message.content or "")

    none = client.chat.completions.create(messages=ASKED, **{**options, "tool_choice": "none"}).choices[0]
    assert none.message.tool_calls is None


@pytest.fixture(scope="module")
def model(qwen_coder_path: Path) -> lutmac.Model:
    return lutmac.load(qwen_coder_path, context=2048)


def ask(model: lutmac.Model, template: str, system: str | None, path: str = "/v1/chat/completions", **body: Any) -> Any:
    model.__dict__["chat_template"] = ChatTemplate(template, eos_token="<|im_end|>")
    http = TestClient(create_app(model, Settings(names=("m",))), base_url="http://127.0.0.1")
    messages = [{"role": "system", "content": system}] if system else []
    body = {"messages": [*messages, {"role": "user", "content": "What is 12*3?"}], "temperature": 0, **body}
    return http.post(path, json={"max_tokens": 90, **body}).json()


@pytest.mark.parametrize(("template", "system"), [(BEGUN, THINK_FIRST), (CHATML, THINK_BETWEEN)])
def test_thoughts_are_apart_whoever_opens_them(template: str, system: str, model: lutmac.Model) -> None:
    message = ask(model, template, system)["choices"][0]["message"]
    assert "36" in message["reasoning_content"]
    assert "think>" not in message["reasoning_content"] + message["content"]


def test_a_schema_binds_what_follows_the_thoughts(model: lutmac.Model) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    message = ask(model, BEGUN, THINK_BETWEEN, response_format=form)["choices"][0]["message"]
    assert message["reasoning_content"]
    assert json.loads(message["content"]).keys() == {"answer"}


def test_a_forced_call_follows_the_thoughts(model: lutmac.Model) -> None:
    number = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    options = {"tools": [{"type": "function", "function": {"name": "answer", "parameters": number}}]}
    reply = ask(model, BEGUN, THINK_BETWEEN, tool_choice="required", max_tokens=200, **options)
    message = reply["choices"][0]["message"]
    assert message["reasoning_content"]
    (call,) = message["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"])["number"], int)


def test_a_begun_answer_is_continued_on_messages(model: lutmac.Model) -> None:
    asked = [{"role": "user", "content": "What is 12*3? Only the number."}, {"role": "assistant", "content": "12*3 = "}]
    reply = ask(model, CHATML, None, "/v1/messages", messages=asked, max_tokens=8)
    assert reply["content"][0]["text"].strip().startswith("36")
