# /// script
# dependencies = ["ollama==0.6.3"]
# ///
"""Ollama's Python client: chat, generate, embed, tags, show."""

from __future__ import annotations

import json

import ollama
from checks import FACTS, MODEL, PERSON, QUESTION, TOOL, TOOL_NAME, TOOL_QUESTION, URL, WEATHER, check

client = ollama.Client(host=URL)
GREEDY = {"temperature": 0, "num_predict": 60}


def chat() -> None:
    """Whole and in pieces."""
    messages = [{"role": "user", "content": QUESTION}]
    whole = client.chat(model=MODEL, messages=messages, options=GREEDY)
    check("chat answers", "Paris" in whole.message.content and whole.done, whole)
    check("it counts tokens", whole.prompt_eval_count > 10 and whole.eval_count > 2, whole)
    pieces = list(client.chat(model=MODEL, messages=messages, options=GREEDY, stream=True))
    text = "".join(piece.message.content or "" for piece in pieces)
    check("streamed chat equals unstreamed", text == whole.message.content, text)
    check("the last piece is done", pieces[-1].done and pieces[-1].done_reason == "stop", pieces[-1])


def tools() -> None:
    """A call, and the answer after its result was sent back."""
    messages = [{"role": "user", "content": TOOL_QUESTION}]
    reply = client.chat(model=MODEL, messages=messages, tools=[TOOL], options=GREEDY)
    call = reply.message.tool_calls[0].function
    check("a tool is called", call.name == TOOL_NAME and "Paris" in call.arguments["city"], reply)
    messages += [reply.message, {"role": "tool", "tool_name": TOOL_NAME, "content": WEATHER}]
    answer = client.chat(model=MODEL, messages=messages, options=GREEDY).message.content
    check("the answer uses the tool's result", "21" in answer or "sunny" in answer.lower(), answer)


def objects() -> None:
    """An object that fits a schema."""
    asked = [{"role": "user", "content": FACTS}]
    reply = client.chat(model=MODEL, messages=asked, format=PERSON, options=GREEDY)
    check("an object fits its schema", json.loads(reply.message.content)["age"] == 36, reply)


def others() -> None:
    """Generate, embed, and what there is."""
    whole = client.generate(model=MODEL, prompt=QUESTION, options=GREEDY)
    check("generate answers", "Paris" in whole.response, whole)
    pieces = client.generate(model=MODEL, prompt=QUESTION, options=GREEDY, stream=True)
    check("streamed generate equals unstreamed", "".join(piece.response for piece in pieces) == whole.response)
    vectors = client.embed(model=MODEL, input=["one", "two"]).embeddings
    check("embed gives a vector for each text", len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 100)
    check("list names the model", any(MODEL in item.model for item in client.list().models))
    check("show has the template", client.show(MODEL).template)


def refusals() -> None:
    """An error is Ollama's."""
    try:
        client.chat(model=MODEL, messages=[{"role": "user", "content": "hi"}], format={"type": "no such type"})
    except ollama.ResponseError as error:
        check("an error has a status and a text", error.status_code == 400 and error.error, error)
    else:
        check("a bad schema is refused", False)


for part in (chat, tools, objects, others, refusals):
    part()
