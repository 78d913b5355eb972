"""Responses that are kept: read again, gone on from, deleted, and forgotten when it is time."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import openai
import pytest

from lutmac.server.errors import ApiError
from lutmac.server.response_store import ResponseStore
from lutmac.server.schemas.responses import InputItem, Response
from serving import Served

OPTIONS: Any = {"model": "smollm2", "temperature": 0, "max_output_tokens": 16}


def test_a_conversation_goes_on_from_a_response(client: openai.OpenAI) -> None:
    """As if the client had sent all of it; instructions are not carried over, as with OpenAI."""
    first = client.responses.create(input="My name is Ada.", instructions="You are kind.", **OPTIONS)
    assert first.store
    second = client.responses.create(input="And you?", previous_response_id=first.id, **OPTIONS)
    third = client.responses.create(input="Well.", previous_response_id=second.id, **OPTIONS)
    said: Any = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And you?"},
        {"role": "assistant", "content": second.output_text},
        {"role": "user", "content": "Well."},
    ]
    whole = client.responses.create(input=said, **OPTIONS)
    assert third.previous_response_id == second.id
    assert third.output_text == whole.output_text
    assert third.usage is not None
    assert whole.usage is not None
    assert third.usage.input_tokens == whole.usage.input_tokens


def test_a_stream_can_be_gone_on_from_and_read_again(client: openai.OpenAI) -> None:
    with client.responses.stream(input="Hi!", **OPTIONS) as stream:
        final = stream.until_done().get_final_response()
    assert client.responses.retrieve(final.id).output_text == final.output_text
    assert client.responses.create(input="Go on.", previous_response_id=final.id, **OPTIONS).output_text


def test_a_tools_result_follows_the_stored_call(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}}
    first = client.responses.create(input="What time is it?", tools=[tool], tool_choice="required", **OPTIONS)
    (call,) = first.output
    assert call.type == "function_call"
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "noon"}]
    second = client.responses.create(input=result, previous_response_id=first.id, **OPTIONS)
    assert second.output_text


def test_a_deleted_response_is_gone_and_what_came_of_it_stays(client: openai.OpenAI) -> None:
    first = client.responses.create(input="Hi!", **OPTIONS)
    second = client.responses.create(input="Go on.", previous_response_id=first.id, **OPTIONS)
    client.responses.delete(first.id)
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(input="Go on.", previous_response_id=first.id, **OPTIONS)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
    assert client.responses.create(input="Go on.", previous_response_id=second.id, **OPTIONS).output_text


def test_what_is_not_to_be_stored_is_not(client: openai.OpenAI, serve: Any) -> None:
    reply = client.responses.create(input="Hi!", store=False, **OPTIONS)
    assert reply.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(reply.id)
    keeps_none: Served = serve("--stored-responses", "0")
    with keeps_none.client() as http:
        found = http.post("/v1/responses", json={"input": "Hi!", "max_output_tokens": 2}).json()
        assert found["store"] is False
        assert "keeps none" in http.get(f"/v1/responses/{found['id']}").json()["error"]["message"]


def response(number: int) -> Response:
    given: dict[str, Any] = {
        "id": f"resp_{number}", "created_at": 0, "status": "completed", "instructions": None, "max_output_tokens": None,
        "metadata": {}, "model": "m", "output": [], "parallel_tool_calls": True, "store": True, "temperature": None,
        "text": {}, "tool_choice": "auto", "tools": [], "top_p": None,
    }  # fmt: skip
    return Response(**given)


def test_the_store_stays_within_its_bytes_and_drops_the_oldest() -> None:
    async def run() -> None:
        store = ResponseStore(20_000, lifetime=60)
        for number in range(10):
            store.put(response(number), [InputItem(role="user", content="x" * 4000)], 0)
        kept = [number for number in range(10) if is_there(store, f"resp_{number}")]
        assert kept == [7, 8, 9]
        store.put(response(10), [InputItem(role="user", content="x" * 20_000)], 0)  # alone too large
        assert not is_there(store, "resp_10")
        assert is_there(store, "resp_9")

    asyncio.run(run())


def test_the_store_forgets_when_the_time_is_up() -> None:
    async def run() -> None:
        store = ResponseStore(1 << 20, lifetime=0.5)
        store.put(response(1), [InputItem(role="user", content="Hi!")], 0)
        assert json.loads(store.response("resp_1"))["id"] == "resp_1"
        await asyncio.sleep(0.01)
        store.put(response(2), [], 0)
        assert len(store) == 2
        await asyncio.sleep(1)
        assert len(store) == 0  # though nobody has asked

    asyncio.run(run())


def is_there(store: ResponseStore, id: str) -> bool:
    try:
        store.response(id)
    except ApiError:
        return False
    return True


def test_the_input_of_a_response_is_listed(client: openai.OpenAI) -> None:
    first = client.responses.create(model="smollm2", input="One", max_output_tokens=4)
    second = client.responses.create(
        model="smollm2", previous_response_id=first.id, max_output_tokens=4,
        input=[{"role": "user", "content": "Two"},
               {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
               {"type": "function_call_output", "call_id": "c", "output": "x"}],
    )  # fmt: skip
    items: Any = list(client.responses.input_items.list(second.id, order="asc"))
    assert [item.type for item in items] == ["message", "message", "message", "function_call", "function_call_output"]
    assert (items[0].role, items[0].content[0].text) == ("user", "One")
    assert (items[1].role, items[1].content[0].type) == ("assistant", "output_text")
    assert len({item.id for item in items}) == 5
    pages: Any = list(client.responses.input_items.list(second.id, limit=2))
    assert [item.id for item in pages] == [item.id for item in reversed(items)]
    with pytest.raises(openai.NotFoundError):
        client.responses.input_items.list("resp_none")
    with pytest.raises(openai.BadRequestError):
        client.responses.input_items.list(second.id, limit=1000)


def test_tokens_of_an_input_are_counted(client: openai.OpenAI) -> None:
    counted: Any = client.responses.input_tokens.count(model="smollm2", input="Hello!", instructions="Be kind.")
    answered = client.responses.create(model="smollm2", input="Hello!", instructions="Be kind.", max_output_tokens=4)
    assert answered.usage is not None
    assert counted.input_tokens == answered.usage.input_tokens


def test_a_response_in_the_background_is_read_until_it_has_ended(client: openai.OpenAI) -> None:
    begun = client.responses.create(
        model="smollm2", input="Hello!", max_output_tokens=8, background=True, temperature=0
    )
    assert (begun.status, begun.background) == ("in_progress", True)
    found, deadline = begun, time.monotonic() + 60
    while found.status == "in_progress" and time.monotonic() < deadline:
        time.sleep(0.05)
        found = client.responses.retrieve(begun.id)
    alone = client.responses.create(model="smollm2", input="Hello!", max_output_tokens=8, temperature=0)
    assert found.output_text == alone.output_text
    assert found.status == alone.status
    assert client.responses.cancel(begun.id).status == found.status
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(alone.id)


def test_a_response_in_the_background_is_cancelled(client: openai.OpenAI) -> None:
    begun = client.responses.create(model="smollm2", input="Count to a million.", background=True, temperature=0)
    cancelled = client.responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    assert client.responses.retrieve(begun.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="smollm2", input="Hi", background=True, store=False)
    failed = client.responses.create(model="smollm2", input="word " * 9000, background=True)
    deadline = time.monotonic() + 30
    while failed.status == "in_progress" and time.monotonic() < deadline:
        time.sleep(0.05)
        failed = client.responses.retrieve(failed.id)
    assert failed.error is not None
    assert "prompt is too long" in failed.error.message
