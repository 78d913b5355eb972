"""Ollama's endpoints through its own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, Literal

import httpx
import ollama
import pytest
from pydantic import BaseModel, ConfigDict

from lutmac.engine.sampling.results import Completion, Timings
from lutmac.server.ollama import _chat_lines
from lutmac.server.tools.calls import CallEnd, ToolCall
from lutmac.server.turn import TurnEvent
from serving import Served

HI = [{"role": "user", "content": "Say hi."}]
GREEDY = {"temperature": 0, "num_predict": 8}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def client(served: Served) -> ollama.Client:
    return ollama.Client(host=served.url)


class Colour(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["red", "green"]


def test_a_chat_streamed_and_whole(client: ollama.Client) -> None:
    whole = client.chat("smollm2", HI, options=GREEDY)
    parts = list(client.chat("smollm2", HI, options=GREEDY, stream=True))
    assert whole.message.role == "assistant"
    assert whole.message.content == "".join(part.message.content or "" for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 3
    for last in (whole, parts[-1]):
        assert last.done_reason in ("stop", "length")
        assert last.eval_count
        assert last.eval_count <= 8
        assert last.prompt_eval_count
        assert last.total_duration
        assert last.total_duration >= (last.eval_duration or 0) > 0


def test_it_is_the_turn_of_the_other_interfaces(client: ollama.Client, http: httpx.Client) -> None:
    body = {"messages": HI, "temperature": 0, "max_tokens": 8}
    ours = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert client.chat("smollm2", HI, options=GREEDY).message.content == ours


def test_options(client: ollama.Client) -> None:
    found = client.chat("smollm2", HI, options={**GREEDY, "num_predict": 3, "num_ctx": 4096, "mirostat": 0, "seed": 1})
    assert found.eval_count == 3
    assert found.done_reason == "length"
    stopped = client.chat("smollm2", HI, options={**GREEDY, "num_predict": -1, "stop": ["!", ".", ","]})
    assert not any(mark in (stopped.message.content or "") for mark in "!.,")


def test_formats(client: ollama.Client) -> None:
    options = {**GREEDY, "num_predict": 40}
    schema = Colour.model_json_schema()
    found = client.chat("smollm2", [{"role": "user", "content": "A colour?"}], format=schema, options=options)
    assert Colour.model_validate_json(found.message.content or "").name
    free = client.generate("smollm2", "A JSON object:", format="json", options={**options, "num_predict": 100})
    assert free.response.startswith("{")


def test_a_tool_call_and_its_result(client: ollama.Client) -> None:
    """With a model of 135M parameters a call is not sure; the shapes are."""
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = client.chat("smollm2", messages, tools=[WEATHER], options=GREEDY)
    assert first.message is not None
    call = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    messages += [{"role": "assistant", "content": "", "tool_calls": [call]},
                 {"role": "tool", "content": "sunny", "tool_name": "get_weather"}]  # fmt: skip
    assert client.chat("smollm2", messages, tools=[WEATHER], options=GREEDY).message.content


def test_generate(client: ollama.Client, http: httpx.Client) -> None:
    raw = client.generate("smollm2", "The capital of France is", raw=True, options=GREEDY)
    body = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 8}
    assert raw.response == http.post("/v1/completions", json=body).json()["choices"][0]["text"]
    with_template = client.generate("smollm2", "Say hi.", options=GREEDY, system="Be kind.")
    assert with_template.response
    parts = list(client.generate("smollm2", "Say hi.", system="Be kind.", options=GREEDY, stream=True))
    assert "".join(part.response for part in parts) == with_template.response
    assert client.generate("smollm2", "").done_reason == "load"
    assert client.chat("smollm2", []).done_reason == "load"


def test_logprobs(client: ollama.Client) -> None:
    found = client.chat("smollm2", HI, options=GREEDY, logprobs=True, top_logprobs=2)
    assert found.logprobs
    assert len(found.logprobs) == found.eval_count
    assert all(len(item.top_logprobs or ()) == 2 for item in found.logprobs)


def test_embeddings(client: ollama.Client, http: httpx.Client) -> None:
    found = client.embed("smollm2", ["A cat", "A dog"])
    ours = http.post("/v1/embeddings", json={"input": ["A cat", "A dog"]}).json()["data"]
    assert [list(row) for row in found.embeddings] == [item["embedding"] for item in ours]
    assert found.prompt_eval_count
    assert client.embeddings("smollm2", "A cat").embedding == ours[0]["embedding"]


def test_a_text_that_is_too_long_to_embed_is_cut_unless_told_otherwise(serve: Any) -> None:
    client = ollama.Client(host=serve().url)
    assert len(client.embed("tiny", "a" * 2000).embeddings) == 1
    with pytest.raises(ollama.ResponseError):
        client.embed("tiny", "a" * 2000, truncate=False)


def test_models(client: ollama.Client) -> None:
    assert [model.model for model in client.list().models] == ["smollm2", "an-alias"]
    (first, _) = client.ps().models
    assert first.context_length == 8192
    shown = client.show("smollm2")
    assert shown.details is not None
    assert (shown.details.family, shown.details.parameter_size, shown.details.quantization_level) == (
        "llama", "134.5M", "Q4_1",
    )  # fmt: skip
    assert "completion" in (shown.capabilities or [])
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192


def test_errors_are_the_clients_own(client: ollama.Client, http: httpx.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="prompt is too long") as caught:
        client.chat("smollm2", [{"role": "user", "content": "word " * 9000}])
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="temperature"):
        client.chat("smollm2", HI, options={"temperature": -3})
    with pytest.raises(ollama.ResponseError, match="images"):
        client.chat("smollm2", [{"role": "user", "content": "Hi", "images": [b"x"]}])
    assert http.post("/api/nothing", json={}).json().keys() == {"error"}
    assert isinstance(http.get("/api/version").json()["version"], str)


def test_lines_are_json_alone(http: httpx.Client) -> None:
    reply = http.post("/api/chat", json={"model": "smollm2", "messages": HI, "options": GREEDY})
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert all(json.loads(line) for line in reply.text.splitlines())


def test_a_call_that_was_cut_off_has_what_was_complete() -> None:
    """A reply may end in the middle of a call's arguments, which Ollama writes as an object."""
    call = ToolCall("call_1", "get_weather", '{"city": "Par')
    end = Completion(
        text="", token_ids=(1,), finish_reason="length", prompt_tokens=3, seed=0, timings=Timings(3, 0.1, 0, 0.0)
    )
    event = TurnEvent(0, 3, (CallEnd(call),), completion=end, finish_reason="length")
    backend: Any = SimpleNamespace(name="tiny", model=SimpleNamespace(tokenizer=None))

    async def lines() -> list[Any]:
        async def events() -> AsyncGenerator[TurnEvent, None]:
            yield event

        return [line async for line in _chat_lines(events(), backend)]

    first, last = asyncio.run(lines())
    assert first.message.tool_calls[0]["function"]["arguments"] == {"city": "Par"}
    assert last.done_reason == "length"
