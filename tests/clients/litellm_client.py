# /// script
# dependencies = ["litellm[proxy]==1.108.7"]
# ///
"""litellm: its client, and its proxy between the openai SDK and lutmac."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import litellm
import openai
from checks import BASE, FACTS, MODEL, OVERLONG, PERSON, QUESTION, TOOL, TOOL_NAME, TOOL_QUESTION, WEATHER, check

CHAT = {"model": f"openai/{MODEL}", "api_base": BASE, "api_key": "none", "temperature": 0, "num_retries": 0}
QUESTIONS = [{"role": "user", "content": QUESTION}]


def client() -> None:
    """Whole and in pieces, a call with its result, an object, overflow."""
    whole = litellm.completion(messages=QUESTIONS, max_tokens=40, **CHAT)
    check("chat answers", "Paris" in whole.choices[0].message.content, whole)
    check("usage counts both sides", whole.usage.prompt_tokens > 10 and whole.usage.completion_tokens > 2, whole.usage)
    pieces = list(litellm.completion(messages=QUESTIONS, max_tokens=40, stream=True, **CHAT))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    check("streamed chat equals unstreamed", text == whole.choices[0].message.content, text)

    messages = [{"role": "user", "content": TOOL_QUESTION}]
    reply = litellm.completion(messages=messages, tools=[TOOL], **CHAT).choices[0]
    call = reply.message.tool_calls[0]
    check("a tool is called", call.function.name == TOOL_NAME and "Paris" in call.function.arguments, reply)
    messages += [reply.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": WEATHER}]
    answer = litellm.completion(messages=messages, tools=[TOOL], tool_choice="none", **CHAT).choices[0].message.content
    check("the answer uses the tool's result", "21" in answer or "sunny" in answer.lower(), answer)

    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    asked = [{"role": "user", "content": FACTS}]
    person = litellm.completion(messages=asked, response_format=schema, **CHAT).choices[0].message.content
    check("an object fits its schema", json.loads(person)["age"] == 36, person)
    try:
        litellm.completion(messages=[{"role": "user", "content": OVERLONG}], **CHAT)
    except litellm.ContextWindowExceededError:
        check("the overflow is a ContextWindowExceededError", True)
    else:
        check("an overlong prompt is refused", False)


def proxy() -> None:
    """The openai SDK through litellm's proxy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = f"sk-{secrets.token_hex(24)}"  # without a key of some length it does not start
    parameters = {"model": f"openai/{MODEL}", "api_base": BASE, "api_key": "none"}
    models = [{"model_name": "local", "litellm_params": parameters}]
    config = Path("config.yaml")  # JSON is YAML
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": key}}))
    program = Path(sys.executable).with_name("litellm")
    command = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    with Path("proxy.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health/liveliness", process)
            through = openai.OpenAI(base_url=f"http://127.0.0.1:{port}", api_key=key, max_retries=0)
            _ask_through(through)
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):  # five minutes: it imports for long
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.5)
    check("the proxy answers", False, Path("proxy.log").read_text()[-1000:])


def _ask_through(through: openai.OpenAI) -> None:
    ask = {"model": "local", "messages": QUESTIONS, "temperature": 0, "max_tokens": 40}
    whole = through.chat.completions.create(**ask)
    check("the proxy's chat answers", "Paris" in whole.choices[0].message.content, whole)
    pieces = through.chat.completions.create(**ask, stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    check("the proxy's stream equals its whole", text == whole.choices[0].message.content, text)
    try:
        through.chat.completions.create(model="local", messages=[{"role": "user", "content": OVERLONG}])
    except openai.BadRequestError as error:
        check("the proxy knows the overflow", "ContextWindowExceeded" in str(error), error)
    else:
        check("an overlong prompt is refused by the proxy", False)


client()
proxy()
