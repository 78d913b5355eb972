"""The official openai SDK against a running server."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

HI: Any = [{"role": "user", "content": "Hi!"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


def ask(client: openai.OpenAI, **options: Any) -> Any:
    given = {"model": "smollm2", "messages": HI, "max_tokens": 12, "temperature": 0}
    return client.chat.completions.create(**{**given, **options})


def test_chat(client: openai.OpenAI) -> None:
    reply = ask(client)
    assert reply.choices[0].message.content == "Hello! How can I assist you today?"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.model == "smollm2"
    assert reply._request_id.startswith("req_")


def test_a_stream_says_what_the_whole_reply_says(client: openai.OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_sdk_accumulates_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="smollm2", messages=HI, max_tokens=30, temperature=0) as stream:
        final = stream.until_done().get_final_completion()
    assert final.choices[0].message.content.startswith("Hello!")


def test_a_seed_makes_the_reply_the_same_and_choices_differ(client: openai.OpenAI) -> None:
    options = {"n": 3, "seed": 7, "temperature": 2, "max_tokens": 24}
    first, again = ask(client, **options), ask(client, **options)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert len(set(texts)) == 3


def test_choices_of_a_stream(client: openai.OpenAI) -> None:
    chunks = list(ask(client, n=2, stream=True, max_tokens=4))
    for index in (0, 1):
        mine = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert "".join(choice.delta.content or "" for choice in mine) == "Hello! How can"
        assert mine[-1].finish_reason == "length"


def test_stop_strings(client: openai.OpenAI) -> None:
    reply = ask(client, stop=["nothing like it", " assist"])
    assert reply.choices[0].message.content == "Hello! How can I"
    assert reply.choices[0].finish_reason == "stop"


def test_logit_bias(client: openai.OpenAI) -> None:
    assert ask(client, max_tokens=1).choices[0].message.content == "Hello"
    hello = _token_id(client, "Hello")
    assert ask(client, max_tokens=1, logit_bias={str(hello): -100}).choices[0].message.content != "Hello"


def _token_id(client: openai.OpenAI, text: str) -> int:
    root = str(client.base_url).removesuffix("/v1/")
    reply = client._client.post(f"{root}/tokenize", json={"prompt": text, "add_special_tokens": False})
    (token,) = reply.json()["tokens"]
    return int(token)


def test_logprobs(client: openai.OpenAI) -> None:
    content = ask(client, logprobs=True, top_logprobs=3, max_tokens=4).choices[0].logprobs.content
    assert "".join(item.token for item in content) == "Hello! How can"
    for item in content:
        assert bytes(item.bytes).decode() == item.token
        assert item.logprob <= 0
        assert [top.logprob for top in item.top_logprobs] == sorted(
            (t.logprob for t in item.top_logprobs), reverse=True
        )
        assert item.top_logprobs[0].token == item.token  # greedy
        assert item.top_logprobs[0].logprob == item.logprob
    streamed = ask(client, logprobs=True, top_logprobs=3, max_tokens=4, stream=True)
    parts = [chunk.choices[0].logprobs.content for chunk in streamed if chunk.choices[0].logprobs]
    assert [item for part in parts for item in part] == content


class Person(BaseModel):
    name: Literal["Ada", "Grace"]
    age: Literal[36, 85]


def test_structured_output(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(
        model="smollm2",
        messages=[{"role": "user", "content": "Who?"}],
        response_format=Person,
        max_tokens=100,
        temperature=0,
    )
    assert isinstance(reply.choices[0].message.parsed, Person)


def test_json_mode(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "Say hello as JSON."}]
    reply = ask(client, messages=asked, response_format={"type": "json_object"}, max_tokens=100)
    assert isinstance(json.loads(reply.choices[0].message.content), dict)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_tool_that_has_to_be_called(client: openai.OpenAI, choice: Any) -> None:
    messages: Any = [{"role": "user", "content": "What is the weather in Paris, in C?"}]
    reply = ask(client, messages=messages, tools=[WEATHER], tool_choice=choice, max_tokens=100)
    (call,) = reply.choices[0].message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert arguments.keys() == {"city", "unit"}
    assert arguments["unit"] in ("C", "F")
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content is None

    answer: Any = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees, sunny"}
    again = ask(client, messages=[*messages, reply.choices[0].message, answer], tools=[WEATHER], tool_choice="none")
    assert again.choices[0].message.content


def test_a_streamed_tool_call(client: openai.OpenAI) -> None:
    chunks = ask(client, tools=[WEATHER, TIME], tool_choice="required", max_tokens=100, stream=True)
    deltas = [chunk.choices[0] for chunk in chunks]
    begin, *more = [call for choice in deltas for call in choice.delta.tool_calls or []]
    assert begin.id
    assert begin.function.name in ("get_weather", "get_time")
    assert len(more) > 1  # the arguments come as they are written
    assert {call.index for call in (begin, *more)} == {0}
    assert isinstance(json.loads("".join(call.function.arguments for call in (begin, *more))), dict)
    assert deltas[-1].finish_reason == "tool_calls"


def test_a_format_beside_tools(client: openai.OpenAI) -> None:
    """A reply that has to be a call is one; where none may be made, the format holds; else it is one of the two."""
    options: Any = {"tools": [TIME], "response_format": {"type": "json_object"}, "max_tokens": 60}
    called = ask(client, tool_choice="required", **options).choices[0].message
    assert called.tool_calls[0].function.name == "get_time"
    said = ask(client, tool_choice="none", **options).choices[0].message
    assert said.tool_calls is None
    assert said.content.startswith("{")
    either = ask(client, tool_choice="auto", logit_bias=_unwanted(client, "{", '{"'), **options).choices[0]
    assert either.message.tool_calls[0].function.name == "get_time"
    assert either.finish_reason == "tool_calls"
    options["response_format"] = json_schema({"enum": ["yes", "no"]})
    either = ask(client, tool_choice="auto", logit_bias=_unwanted(client, "<", "</"), **options).choices[0]
    assert either.message.tool_calls is None
    assert json.loads(either.message.content) in ("yes", "no")


def _unwanted(client: openai.OpenAI, *beginnings: str) -> dict[str, int]:
    return {str(_token_id(client, text)): -100 for text in beginnings}


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


def test_completions(client: openai.OpenAI) -> None:
    reply = client.completions.create(
        model="smollm2", prompt=["The capital of France is", "One, two,"], max_tokens=5, temperature=0, logprobs=2
    )
    first, second = reply.choices
    assert first.text == " Paris.\n\nThe"[: len(first.text)]
    assert second.index == 1
    assert first.logprobs is not None
    assert first.logprobs.tokens is not None
    assert "".join(first.logprobs.tokens) == first.text
    assert first.logprobs.text_offset is not None
    assert first.logprobs.text_offset[1] == len(first.logprobs.tokens[0])
    streamed = client.completions.create(
        model="smollm2", prompt="The capital of France is", max_tokens=5, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == first.text


def test_echo(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="smollm2", prompt="One two", max_tokens=1, temperature=0, echo=True)
    assert reply.choices[0].text.startswith("One two")


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["A cat sat on a mat.", "A kitten lay on a rug.", "Interest rates rose by a quarter point."]
    found = client.embeddings.create(model="smollm2", input=texts)  # as base64, the SDK's default
    plain = client.embeddings.create(model="smollm2", input=texts, encoding_format="float")
    vectors = [item.embedding for item in found.data]
    assert vectors == pytest.approx([pytest.approx(item.embedding, abs=1e-6) for item in plain.data])
    assert sum(x * x for x in vectors[0]) == pytest.approx(1, abs=1e-4)
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > far
    assert found.usage.prompt_tokens > 15


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["smollm2", "an-alias"]
    assert client.models.retrieve("an-alias").id == "an-alias"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-4")
    assert caught.value.code == "model_not_found"


def test_errors_are_the_sdks_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, stream=True, messages=[{"role": "user", "content": "word " * 10000}])
    assert caught.value.code == "context_length_exceeded"


def test_responses(client: openai.OpenAI) -> None:
    reply = client.responses.create(
        model="smollm2", instructions="You are kind.", input="Hi!", temperature=0, max_output_tokens=64
    )
    assert reply.output_text
    assert reply.usage is not None
    assert reply.usage.output_tokens > 0
    with client.responses.stream(
        model="smollm2", instructions="You are kind.", input="Hi!", temperature=0, max_output_tokens=64
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == reply.output_text
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_responses_with_a_tool(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", **WEATHER["function"], "strict": True}
    asked: Any = [{"role": "user", "content": "Weather in Rome, in C?"}]
    options: Any = {"model": "smollm2", "tools": [tool], "temperature": 0, "max_output_tokens": 100}
    reply = client.responses.create(input=asked, tool_choice="required", **options)
    (call,) = reply.output
    assert call.type == "function_call"
    assert json.loads(call.arguments).keys() == {"city", "unit"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
    again = client.responses.create(input=[*asked, call.model_dump(), result], tool_choice="none", **options)
    assert again.output_text
    with client.responses.stream(input=asked, tool_choice="required", **options) as stream:
        final = stream.until_done().get_final_response()
    assert final.output[0].type == "function_call"


def test_responses_with_a_schema(client: openai.OpenAI) -> None:
    reply = client.responses.parse(
        model="smollm2", input="Who?", text_format=Person, max_output_tokens=100, temperature=0
    )
    assert isinstance(reply.output_parsed, Person)
