"""Thoughts apart from the answer, on the three interfaces, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

import lutmac
from lutmac.server.app import create_app
from lutmac.server.message_events import MessageWriter
from lutmac.server.response_events import ResponseWriter
from lutmac.server.schemas import responses as schema
from lutmac.server.settings import Settings
from lutmac.server.thinking import Thinking
from lutmac.server.tools import FAMILIES, Part, ReplyParser, Tool
from lutmac.server.tools.thoughts import THINK
from lutmac.server.turn import TurnEvent
from lutmac.text import ChatTemplate
from lutmac.text.chat import CHATML, chat_prompt
from lutmac.text.template_abilities import TemplateAbilities

OPENED = CHATML.replace("assistant\\n' }}", "assistant\\n<think>\\n' }}")
GREEDY = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "temperature": 0, "ignore_eos": True}
SWITCHED = (
    "{{ messages[0].content }}{% if add_generation_prompt %}:"
    "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}{% endif %}"
)
# As Nemotron Nano 2 has it: words of the messages are the switch, and are not in the prompt.
SWITCHED_BY_WORDS = (
    "{% set ns = namespace(on=true) %}{% for message in messages %}{% if message.role == 'user' %}"
    "{% if '/think' in message.content %}{% set ns.on = true %}"
    "{% elif '/no_think' in message.content %}{% set ns.on = false %}{% endif %}{% endif %}"
    "{{ message.role }}: {{ message.content.replace('/think', '').replace('/no_think', '').strip() }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: <think>{{ '' if ns.on else '</think>' }}{% endif %}"
)
HI = [{"role": "user", "content": "hi"}]
ADD = Tool("add", None, {"type": "object", "properties": {"a": {"type": "integer"}}})
REPLY = 'Hm,\nyes.\n</think>\n\nSo: <tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@pytest.fixture(scope="module")
def http(tiny: Any) -> TestClient:
    """A model of random weights, whose template opens thoughts that it never ends."""
    model = lutmac.load(tiny.path, threads=1)
    model.__dict__["chat_template"] = ChatTemplate(OPENED)
    return TestClient(create_app(model, Settings(names=("m",))), base_url="http://127.0.0.1")


def events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_chat_completions_have_reasoning_content(http: TestClient) -> None:
    asked = {"messages": HI, "max_tokens": 12, "temperature": 0}
    whole = http.post("/v1/chat/completions", json=asked).json()
    message = whole["choices"][0]["message"]
    assert message["content"] == ""
    assert message["reasoning_content"]
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 12}
    deltas = [
        event["choices"][0]["delta"]
        for event in events(http.post("/v1/chat/completions", json={**asked, "stream": True}).text)
    ]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == message["reasoning_content"]
    assert "".join(delta.get("content", "") for delta in deltas) == ""


def test_responses_have_reasoning_items(http: TestClient) -> None:
    asked = {"input": "hi", "max_output_tokens": 12, "temperature": 0}
    whole = http.post("/v1/responses", json=asked).json()
    (item,) = whole["output"]
    assert (item["type"], item["summary"], item["status"]) == ("reasoning", [], "incomplete")
    assert item["content"][0]["type"] == "reasoning_text"
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == 12
    streamed = events(http.post("/v1/responses", json={**asked, "stream": True}).text)
    said = "".join(event["delta"] for event in streamed if event["type"] == "response.reasoning_text.delta")
    assert said == item["content"][0]["text"]


def test_messages_have_thinking_blocks(http: TestClient) -> None:
    asked = {"messages": HI, "max_tokens": 12, "temperature": 0}
    (block,) = http.post("/v1/messages", json=asked).json()["content"]
    assert block["type"] == "thinking"
    assert block["signature"]
    streamed = events(http.post("/v1/messages", json={**asked, "stream": True}).text)
    deltas = [event["delta"] for event in streamed if event["type"] == "content_block_delta"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == block["thinking"]
    assert deltas[-1] == {"type": "signature_delta", "signature": block["signature"]}


def test_what_is_sent_back_is_taken(http: TestClient) -> None:
    """Each interface's own reply as part of the next request."""
    asked = {"messages": HI, "max_tokens": 4}
    message = http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]
    assert http.post("/v1/chat/completions", json={**asked, "messages": [*HI, message, *HI]}).status_code == 200
    content = http.post("/v1/messages", json=asked).json()["content"]
    again = [*HI, {"role": "assistant", "content": content}, *HI]
    assert http.post("/v1/messages", json={**asked, "messages": again}).status_code == 200
    output = http.post("/v1/responses", json={"input": "hi", "max_output_tokens": 4}).json()
    items = [{"role": "user", "content": "hi"}, *output["output"], {"role": "user", "content": "hi"}]
    assert http.post("/v1/responses", json={"input": items, "max_output_tokens": 4}).status_code == 200
    more = {"input": "hi", "previous_response_id": output["id"], "max_output_tokens": 4}
    assert http.post("/v1/responses", json=more).status_code == 200


def turn_events(pieces: list[str]) -> list[TurnEvent]:
    """What a turn tells of a reply that comes in pieces."""
    family = next(family for family in FAMILIES if family.name == "hermes")
    parser = ReplyParser(family, {"add": ADD}, (THINK,), thinking=THINK)
    parts: list[list[Part]] = [parser.push(piece) for piece in pieces]
    parts[-1] += parser.close()
    return [TurnEvent(0, 3, tuple(found)) for found in parts]


@pytest.mark.parametrize("pieces", [[REPLY], list(REPLY)])
def test_thoughts_text_and_call_are_blocks_and_items_in_order(pieces: list[str], tiny_model: lutmac.Model) -> None:
    message = MessageWriter("m")
    streamed = b"".join(said for event in turn_events(pieces) for said in message.add(event)).decode()
    thinking, text, tool = message.blocks
    assert (thinking.thinking, text.text) == ("Hm,\nyes.", "So:")  # type: ignore[union-attr]
    assert (tool.name, tool.input) == ("add", {"a": 1})  # type: ignore[union-attr]
    kinds = [event["type"] for event in events(streamed)]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3
    empty = schema.Response(
        id="resp_1", created_at=0, status="in_progress", instructions=None, max_output_tokens=None, metadata={},
        model="m", output=[], parallel_tool_calls=True, store=False, temperature=None, text={}, tool_choice="auto",
        tools=[], top_p=None,
    )  # fmt: skip
    response = ResponseWriter(empty, tiny_model.tokenizer)
    said = events(b"".join(said for event in turn_events(pieces) for said in response.add(event)).decode())
    assert [item.type for item in response.response.output] == ["reasoning", "message", "function_call"]
    assert [event["sequence_number"] for event in said] == list(range(len(said)))
    done = [event["item"] for event in said if event["type"] == "response.output_item.done"]
    assert done == [item.model_dump() for item in response.response.output]
    assert done[2]["arguments"] == '{"a": 1}'


def test_a_template_is_switched_as_far_as_it_can_be() -> None:
    both = TemplateAbilities(variables=frozenset({"enable_thinking", "reasoning_effort", "thinking_budget"}))
    none = TemplateAbilities()
    thinking = TemplateAbilities(variables=frozenset({"thinking"}))
    assert Thinking().variables(both) == {}
    assert Thinking(effort="none").variables(both) == {"enable_thinking": False, "thinking_budget": 0}
    assert Thinking(effort="minimal").variables(both) == {"enable_thinking": True, "reasoning_effort": "low"}
    assert Thinking(on=True, budget=64).variables(both) == {"enable_thinking": True, "thinking_budget": 64}
    assert Thinking(on=False).variables(thinking) == {"thinking": False}
    assert Thinking(on=False, effort="high").variables(none) == {}


def test_thinking_is_switched_by_words_of_the_user(tiny_model: lutmac.Model) -> None:
    template = ChatTemplate(SWITCHED_BY_WORDS)
    assert template.abilities.thinking_words == ("/no_think", "/think")
    chat = [*HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Why?"}]
    for on, end in ((None, "<think>"), (True, "<think>"), (False, "<think></think>")):
        variables = Thinking(on=on).variables(template.abilities)
        ids = chat_prompt(tiny_model.tokenizer, template, chat, variables=variables).ids
        expected = f"user: hi\nassistant: Hello.\nuser: Why?\nassistant: {end}"
        assert tiny_model.tokenizer.decode(ids, skip_special=False) == expected
    for other in (CHATML, OPENED, SWITCHED, "{# /no_think #}" + CHATML):
        assert ChatTemplate(other).abilities.thinking_words == ()


@pytest.mark.parametrize(
    ("body", "thinks"),
    [
        ({}, True),
        ({"enable_thinking": False}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        ({"think": False}, False),
        ({"thinking": {"type": "disabled"}}, False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
    ],
)
def test_thinking_is_switched_off_by_any_name(body: dict[str, Any], thinks: bool, tiny: Any) -> None:
    model = lutmac.load(tiny.path, threads=1)
    model.__dict__["chat_template"] = ChatTemplate(SWITCHED)
    client = TestClient(create_app(model, Settings(names=("m",))), base_url="http://127.0.0.1")
    message = client.post("/v1/chat/completions", json={**GREEDY, **body}).json()["choices"][0]["message"]
    assert ("reasoning_content" in message) == thinks
