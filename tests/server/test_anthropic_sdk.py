"""The official anthropic SDK against a running server."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

HI: Any = [{"role": "user", "content": "Hi!"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
OPTIONS: Any = {"model": "smollm2", "max_tokens": 12, "extra_body": {"temperature": 0}}


def test_a_message_and_its_stream(claude: anthropic.Anthropic) -> None:
    reply = claude.messages.create(messages=HI, system="You are kind.", **OPTIONS)
    assert reply.content[0].type == "text"
    assert reply.usage.output_tokens > 0
    with claude.messages.stream(messages=HI, system="You are kind.", **OPTIONS) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == reply.content[0].text
    assert final.stop_reason == reply.stop_reason
    assert final.usage.output_tokens == reply.usage.output_tokens


def test_stop_sequences_and_max_tokens(claude: anthropic.Anthropic) -> None:
    reply = claude.messages.create(messages=HI, stop_sequences=["xyzzy", " How"], **OPTIONS)
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", " How")
    reply = claude.messages.create(messages=HI, **{**OPTIONS, "max_tokens": 2})
    assert (reply.stop_reason, reply.stop_sequence) == ("max_tokens", None)


def test_a_tool_is_used_and_its_result_read(claude: anthropic.Anthropic) -> None:
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "What is the weather in Paris?"}]}]
    options = {**OPTIONS, "max_tokens": 100, "tools": [WEATHER]}
    reply = claude.messages.create(messages=asked, tool_choice={"type": "any"}, **options)
    (call,) = reply.content
    assert call.type == "tool_use"
    assert call.name == "get_weather"
    assert call.input.keys() == {"city"}
    assert reply.stop_reason == "tool_use"
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "18 degrees"}]}
    more: Any = [*asked, {"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
    again = claude.messages.create(messages=more, tool_choice={"type": "none"}, **options)
    assert again.content[0].type == "text"
    with claude.messages.stream(messages=asked, tool_choice={"type": "any"}, **options) as stream:
        final = stream.get_final_message()
    assert final.content[0].type == "tool_use"
    assert final.content[0].input == call.input


def test_count_tokens(claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model="smollm2", messages=HI, system="You are kind.")
    reply = claude.messages.create(messages=HI, system="You are kind.", **OPTIONS)
    usage = reply.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_errors_are_the_sdks_own(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(messages=[], **OPTIONS)
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    image: Any = [{"role": "user", "content": [{"type": "image", "source": {}}]}]
    with pytest.raises(anthropic.BadRequestError, match="image"):
        claude.messages.create(messages=image, **OPTIONS)
