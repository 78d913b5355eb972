"""LangChain's OpenAI classes against a running server."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from serving import Served


class Answer(BaseModel):
    """An answer."""

    verdict: Literal["yes", "no"]


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


@pytest.fixture(scope="module")
def model(served: Served) -> ChatOpenAI:
    return ChatOpenAI(
        model="smollm2", base_url=f"{served.url}/v1", api_key=SecretStr("none"), temperature=0, max_completion_tokens=40
    )


def test_invoke_and_stream(model: ChatOpenAI) -> None:
    reply = model.invoke("Hi!")
    assert reply.text
    assert reply.usage_metadata is not None
    assert "".join(chunk.text for chunk in model.stream("Hi!")) == reply.text
    assert [message.text for message in model.batch(["Hi!", "Hi!"])] == [reply.text] * 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(model: ChatOpenAI, method: Any) -> None:
    reply = model.with_structured_output(Answer, method=method).invoke("Is water wet?")
    assert isinstance(reply, Answer)


def test_tools(model: ChatOpenAI) -> None:
    asked = HumanMessage("What is the weather in Paris?")
    reply = model.bind_tools([get_weather], tool_choice="get_weather").invoke([asked])
    (call,) = reply.tool_calls
    assert call["name"] == "get_weather"
    result = ToolMessage("18 degrees", tool_call_id=call["id"] or "")
    assert model.invoke([asked, reply, result]).text


def test_embeddings(served: Served) -> None:
    embeddings = OpenAIEmbeddings(
        model="smollm2", base_url=f"{served.url}/v1", api_key=SecretStr("none"), check_embedding_ctx_length=False
    )
    vectors = embeddings.embed_documents(["a cat", "a dog"])
    assert len(vectors) == 2
    assert embeddings.embed_query("a cat") == pytest.approx(vectors[0], abs=1e-6)
