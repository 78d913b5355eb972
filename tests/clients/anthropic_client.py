# /// script
# dependencies = ["anthropic==2.14.0"]
# ///
"""Anthropic's SDK: messages whole and in pieces, tools, objects, counting, overflow."""

from __future__ import annotations

import json

import anthropic
from checks import (
    FACTS,
    MODEL,
    OVERLONG,
    PERSON,
    QUESTION,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    TOOL_PARAMETERS,
    TOOL_QUESTION,
    URL,
    WEATHER,
    check,
)

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
GREEDY = {"temperature": 0}  # a parameter that this SDK no longer names


def messages() -> None:
    """Whole and in pieces, with a prefilled reply."""
    ask = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "extra_body": GREEDY, "max_tokens": 40}
    whole = client.messages.create(**ask)
    check("a message answers", "Paris" in whole.content[0].text, whole)
    read = whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    check("usage counts both sides", read > 10 and whole.usage.output_tokens > 2, whole.usage)
    with client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    check("streamed message equals unstreamed", text == whole.content[0].text == final.content[0].text, text)
    counted = client.messages.count_tokens(model=MODEL, messages=ask["messages"])
    check("count_tokens equals usage", counted.input_tokens == read, counted)
    ask["messages"] = [*ask["messages"], {"role": "assistant", "content": "The capital city of France is"}]
    check("a prefilled reply goes on", "Paris" in client.messages.create(**ask).content[0].text[:20])


def tools() -> None:
    """A call, and the answer after its result was sent back."""
    tool = {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "input_schema": TOOL_PARAMETERS}
    asked = [{"role": "user", "content": TOOL_QUESTION}]
    ask = {"model": MODEL, "tools": [tool], "extra_body": GREEDY, "max_tokens": 100}
    reply = client.messages.create(messages=asked, **ask)
    call = next(block for block in reply.content if block.type == "tool_use")
    check("a tool is called", reply.stop_reason == "tool_use" and call.name == TOOL_NAME, reply)
    check("the call names the city", "Paris" in call.input["city"], call)
    with client.messages.stream(messages=asked, **ask) as stream:
        streamed = next(block for block in stream.get_final_message().content if block.type == "tool_use")
    check("the streamed call equals the unstreamed", streamed.input == call.input, streamed)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": WEATHER}
    asked += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(messages=asked, tool_choice={"type": "none"}, **ask).content[0].text
    check("the answer uses the tool's result", "21" in answer or "sunny" in answer.lower(), answer)


def objects() -> None:
    """An object that fits a schema."""
    reply = client.messages.create(
        model=MODEL,
        messages=[{"role": "user", "content": FACTS}],
        output_config={"format": {"type": "json_schema", "schema": PERSON}},
        extra_body=GREEDY,
        max_tokens=60,
    )
    check("an object fits its schema", json.loads(reply.content[0].text)["age"] == 36, reply)


def overflow() -> None:
    """The error of a prompt that is too long."""
    try:
        client.messages.create(model=MODEL, max_tokens=10, messages=[{"role": "user", "content": OVERLONG}])
    except anthropic.BadRequestError as error:
        check("the overflow is worded as Anthropic's", "prompt is too long" in str(error), error)
    else:
        check("an overlong prompt is refused", False)


for part in (messages, tools, objects, overflow):
    part()
