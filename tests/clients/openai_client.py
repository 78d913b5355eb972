# /// script
# dependencies = ["openai==3.57.0"]
# ///
"""The openai SDK: chat completions, responses, completions, embeddings."""

from __future__ import annotations

import json

import openai
from checks import (
    BASE,
    FACTS,
    MODEL,
    OVERLONG,
    QUESTION,
    TOOL,
    TOOL_NAME,
    TOOL_PARAMETERS,
    TOOL_QUESTION,
    WEATHER,
    check,
)
from pydantic import BaseModel


class Person(BaseModel):
    """The object that is asked for."""

    name: str
    age: int


client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0)


def chat() -> None:
    """Whole and in pieces."""
    ask = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 40}
    whole = client.chat.completions.create(**ask)
    check("chat answers", "Paris" in whole.choices[0].message.content, whole)
    usage = whole.usage
    check("usage adds up", usage.prompt_tokens + usage.completion_tokens == usage.total_tokens > 20, usage)
    pieces = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    check("streamed chat equals unstreamed", text == whole.choices[0].message.content, text)
    check("streamed usage equals unstreamed", pieces[-1].usage.completion_tokens == usage.completion_tokens, pieces[-1])


def tools() -> None:
    """A call, and the answer after its result was sent back."""
    messages = [{"role": "user", "content": TOOL_QUESTION}]
    ask = {"model": MODEL, "tools": [TOOL], "temperature": 0, "max_tokens": 100}
    reply = client.chat.completions.create(messages=messages, **ask).choices[0]
    check("a tool is called with auto", reply.finish_reason == "tool_calls", reply)
    call = reply.message.tool_calls[0]
    check("the call names the tool and the city", call.function.name == TOOL_NAME, call)
    check("its arguments are JSON", "Paris" in json.loads(call.function.arguments)["city"], call)
    with client.chat.completions.stream(messages=messages, **ask) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls[0]
    same = (streamed.function.name, streamed.function.arguments) == (call.function.name, call.function.arguments)
    check("the streamed call equals the unstreamed", same, streamed)
    messages += [reply.message, {"role": "tool", "tool_call_id": call.id, "content": WEATHER}]
    answer = client.chat.completions.create(messages=messages, tool_choice="none", **ask).choices[0].message.content
    check("the answer uses the tool's result", "21" in answer or "sunny" in answer.lower(), answer)


def objects() -> None:
    """What the SDK parses into a pydantic model; the message that it returns can be sent back."""
    messages = [{"role": "user", "content": FACTS}]
    reply = client.chat.completions.parse(
        model=MODEL, messages=messages, response_format=Person, temperature=0, max_tokens=60
    )
    message = reply.choices[0].message
    check("an object fits its schema", message.parsed.age == 36 and "Ada" in message.parsed.name, message)
    messages += [message, {"role": "user", "content": "Thanks. Say bye."}]
    again = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=10)
    check("a parsed message can be sent back", again.choices[0].message.content, again)


def responses() -> None:
    """Whole and in pieces, a call, an object."""
    ask = {"model": MODEL, "input": QUESTION, "temperature": 0, "max_output_tokens": 40}
    whole = client.responses.create(**ask)
    check("a response answers", "Paris" in whole.output_text, whole)
    with client.responses.stream(**ask) as stream:
        text = stream.get_final_response().output_text
    check("streamed response equals unstreamed", text == whole.output_text, text)
    tool = {"type": "function", "name": TOOL_NAME, "parameters": TOOL_PARAMETERS, "strict": False}
    asked = [{"role": "user", "content": TOOL_QUESTION}]
    first = client.responses.create(model=MODEL, input=asked, tools=[tool], tool_choice="required", temperature=0)
    call = next(item for item in first.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER}
    last = client.responses.create(
        model=MODEL, input=[*asked, *first.output, result], tools=[tool], tool_choice="none", temperature=0
    )
    check("a response uses the tool's result", "21" in last.output_text or "sunny" in last.output_text.lower(), last)
    parsed = client.responses.parse(model=MODEL, input=FACTS, text_format=Person, temperature=0)
    check("a response's object fits its schema", parsed.output_parsed.age == 36, parsed)


def completions() -> None:
    """Fill in the middle, echo, embeddings."""
    before, after = "def add(a, b):\n    ", "\n\nprint(add(2, 3))\n"
    filled = client.completions.create(
        model=MODEL, prompt=before, suffix=after, temperature=0, max_tokens=24, stop=["\n"]
    )
    check("suffix fills the middle", filled.choices[0].text.strip() == "return a + b", filled)
    echoed = client.completions.create(model=MODEL, prompt="The sky is blue", echo=True, logprobs=1, max_tokens=0)
    check("echo gives log probabilities", len(echoed.choices[0].logprobs.token_logprobs) == 4, echoed)
    vectors = client.embeddings.create(model=MODEL, input=["one", "two"], dimensions=64).data
    check("embeddings have the dimensions asked for", [len(item.embedding) for item in vectors] == [64, 64])


def overflow() -> None:
    """The error of a prompt that is too long."""
    try:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": OVERLONG}])
    except openai.BadRequestError as error:
        check("the overflow has its code", error.code == "context_length_exceeded", error)
        check("the overflow names its field", error.param == "messages", error)
    else:
        check("an overlong prompt is refused", False)


for part in (chat, tools, objects, responses, completions, overflow):
    part()
