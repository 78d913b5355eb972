"""What clients of other servers send: honoured by another name, or left out and named once; refused by --strict."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from lutmac.server.schemas.other_names import TABLES
from serving import Served

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Say hi."}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"const": "Paris"}}}}
TOOL = {"type": "function", "function": FUNCTION}

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"

IGNORED: dict[str, Any] = {
    "cache_prompt": True, "skip_special_tokens": True, "tfs_z": 1.0, "mirostat": 0, "num_ctx": 4096,
    "keep_alive": "5m", "provider": {"order": []}, "no_such_name": 1,
}  # fmt: skip
HONOURED: dict[str, Any] = {
    "repeat_penalty": 1.1, "typical_p": 0.9, "typical": 1, "min_tokens": 2,
    "stop_token_ids": [2], "n_predict": 2, "num_predict": -2, "max_tokens": -1,
    "response_format": {"type": "json_object", "schema": SCHEMA}, "think": False, "enable_thinking": False,
    "reasoning": {"effort": "low"}, "thinking": {"type": "disabled"}, "functions": [FUNCTION], "function_call": "auto",
    "usage": {"include": True}, "stop_sequences": ["x"], "stream_options": {"include_usage": True},
}  # fmt: skip


def test_the_page_shows_the_table() -> None:
    shown = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in PAGE.read_text().splitlines()}
    for names in TABLES.values():
        for other in names:
            assert (f"`{other.name}`", other.whose, other.means) in shown


def chat(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    reply = http.post(CHAT, json={"messages": HI, "max_tokens": 4, "temperature": 0, **fields})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def content(reply: dict[str, Any]) -> str:
    found = reply["choices"][0]["message"]["content"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("name", [*IGNORED, *HONOURED])
def test_a_field_of_another_server_is_taken_and_null_is_absence(http: httpx.Client, name: str) -> None:
    value = {**IGNORED, **HONOURED}[name]
    chat(http, stop=["."], **{name: value})
    chat(http, **{name: None})


def named(served: Served, name: str) -> int:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = [line for line in served.lines if line.startswith("{") and json.loads(line).get("event") == "ignored"]
        if count := sum(json.loads(line)["name"] == name for line in found):
            return count
        time.sleep(0.05)
    return 0


def test_what_is_not_known_is_named_once_and_its_value_never(http: httpx.Client, served: Served) -> None:
    for _ in range(2):
        chat(http, a_name_of_nothing="a secret")
    assert named(served, "a_name_of_nothing") == 1
    assert not any("a secret" in line for line in served.lines)
    assert named(served, "repeat_penalty") == 0


def test_at_most_a_hundred_names_are_named(serve: Any) -> None:
    server = serve()
    with server.client() as http:
        body = {"messages": HI, "max_tokens": 1, **{f"odd\x1b[31m{i}": i for i in range(300)}}
        assert http.post(CHAT, json=body).status_code == 200
    assert server.stop() == 0
    lines = [line for line in server.lines if '"ignored"' in line]
    assert len(lines) == 100
    assert not any("\x1b" in json.loads(line)["name"] for line in lines)


def test_a_strict_server_refuses_them(serve: Any) -> None:
    with serve("--strict", "--name", "tiny").client() as http:
        for name, value in IGNORED.items():
            reply = http.post(CHAT, json={"messages": HI, "max_tokens": 1, name: value})
            assert reply.status_code == 400
            assert reply.json()["error"]["param"] == name
        inside = [{"role": "user", "content": "hi", "odd": 1}]
        assert http.post(CHAT, json={"messages": inside}).json()["error"]["param"] == "messages.odd"
        for name, value in HONOURED.items():
            reply = http.post(CHAT, json={"messages": HI, "max_tokens": 1, name: value})
            assert reply.status_code == 200, reply.text
        assert http.post(CHAT, json={"messages": HI, "model": "gpt-4"}).status_code == 404


def test_any_models_name_is_answered(http: httpx.Client) -> None:
    assert chat(http, model="claude-sonnet-4-5")["model"] == "smollm2"
    assert http.get("/v1/models/claude-sonnet-4-5").status_code == 404


def test_a_repetition_penalty_by_another_name_is_one(http: httpx.Client) -> None:
    plain = content(chat(http, max_tokens=40))
    ours = content(chat(http, max_tokens=40, repetition_penalty=2.0))
    assert content(chat(http, max_tokens=40, repeat_penalty=2.0)) == ours != plain


def test_lengths_by_other_names(http: httpx.Client) -> None:
    for name in ("n_predict", "num_predict", "max_new_tokens"):
        assert chat(http, max_tokens=None, **{name: 3})["usage"]["completion_tokens"] == 3
    long = chat(http, max_tokens=-1, stop=["zzzzzz"])
    assert long["choices"][0]["finish_reason"] == "stop"


def test_nothing_ends_a_reply_before_min_tokens(http: httpx.Client) -> None:
    plain = chat(http, max_tokens=60)
    assert plain["choices"][0]["finish_reason"] == "stop"
    length = plain["usage"]["completion_tokens"]
    longer = chat(http, max_tokens=length + 8, min_tokens=length + 8)
    assert longer["usage"]["completion_tokens"] == length + 8
    early = chat(http, stop=["H"], max_tokens=8)
    late = chat(http, stop=["H", "h", "i", "e", " "], max_tokens=8, min_tokens=6)
    assert early["usage"]["completion_tokens"] < 6 <= late["usage"]["completion_tokens"]


def test_a_stop_token_ends_a_reply(http: httpx.Client) -> None:
    reply = chat(http, max_tokens=8, logprobs=True)
    tokens = [item["token"] for item in reply["choices"][0]["logprobs"]["content"]]
    id = http.post("/tokenize", json={"prompt": tokens[3], "add_special_tokens": False}).json()["tokens"][0]
    stopped = chat(http, max_tokens=8, stop_token_ids=[id])
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert content(stopped) == "".join(tokens[: tokens.index(tokens[3])])
    wrong = http.post(CHAT, json={"messages": HI, "stop_token_ids": [10**9]})
    assert wrong.status_code == 400


FORMS: dict[str, dict[str, Any]] = {
    "guided_json": {"guided_json": SCHEMA},
    "guided_json as text": {"guided_json": json.dumps(SCHEMA)},
    "structured_outputs": {"structured_outputs": {"json": SCHEMA}},
    "json_schema": {"json_schema": SCHEMA},
    "a schema beside json_object": {"response_format": {"type": "json_object", "schema": SCHEMA}},
    "a schema beside json_schema": {"response_format": {"type": "json_schema", "schema": SCHEMA}},
    "TGI's": {"response_format": {"type": "json", "value": SCHEMA}},
    "GBNF": {"grammar": 'root ::= "{\\"a\\": " [0-9] "}"'},
    "Lark": {"guided_grammar": 'start: "{\\"a\\": " /[0-9]/ "}"'},
    "a regular expression": {"guided_regex": r'\{"a": \d\}'},
    "a choice": {"guided_choice": ['{"a": 1}', '{"a": 2}']},
    "another choice": {"structured_outputs": {"choice": ['{"a": 1}']}},
}


@pytest.mark.parametrize("fields", FORMS.values(), ids=FORMS.keys())
def test_forms_of_a_reply_by_other_names(http: httpx.Client, fields: dict[str, Any]) -> None:
    found = json.loads(content(chat(http, max_tokens=30, **fields)))
    assert isinstance(found["a"], int)
    reply = http.post("/v1/completions", json={"prompt": "x", "max_tokens": 30, "temperature": 0, **fields})
    assert isinstance(json.loads(reply.json()["choices"][0]["text"])["a"], int)


@pytest.mark.parametrize(
    "fields", [{"guided_json": "{"}, {"grammar": "root ::= ("}, {"structured_outputs": {"x": 1}}, {"guided_choice": []}]
)
def test_a_form_that_makes_no_sense_is_told(http: httpx.Client, fields: dict[str, Any]) -> None:
    reply = http.post(CHAT, json={"messages": HI, **fields})
    assert reply.status_code == 400
    assert "\n" not in reply.json()["error"]["message"]


def test_usage_that_is_asked_for_as_others_do(http: httpx.Client) -> None:
    for fields in ({"usage": {"include": True}}, {"stream_options": {"include_usage": True}}):
        reply = http.post(CHAT, json={"messages": HI, "max_tokens": 2, "stream": True, **fields})
        assert '"usage":{"prompt_tokens"' in reply.text


@pytest.mark.parametrize(
    "choice",
    [
        "any", "required", {"type": "any"}, {"type": "tool", "name": "get_weather"},
        {"type": "function", "name": "get_weather"},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
    ],
)  # fmt: skip
def test_tool_choices_of_all_interfaces(http: httpx.Client, choice: Any) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    tools = [TOOL] if choice in ("any", "required", {"type": "any"}) else [other, TOOL]
    reply = chat(http, tools=[*tools, {"type": "web_search"}], tool_choice=choice, max_tokens=40)
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_a_tool_that_is_not_allowed_is_told(http: httpx.Client) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "x"}]}}
    assert http.post(CHAT, json={"messages": HI, "tools": [TOOL], "tool_choice": choice}).status_code == 400


def test_what_clients_send_back_of_replies(http: httpx.Client) -> None:
    function = {"name": "get_weather", "arguments": {"city": "Paris"}, "parsed_arguments": {"city": "Paris"}}
    call = {"id": "c1", "type": "function", "function": function, "extra_content": {"a": 1}, "index": 0}
    answer = {
        "role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "parsed": None,
        "tool_calls": [call], "provider_specific_fields": {"a": 1},
    }  # fmt: skip
    result = {"role": "tool", "tool_call_id": "c1", "content": None}
    chat(http, messages=[*HI, answer, result], tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}])
    older = {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}}
    chat(http, messages=[*HI, older, {"role": "function", "name": "get_weather", "content": "sunny"}])


class Answer(BaseModel):
    a: int


def test_what_the_sdk_parsed_can_be_sent_back(client: openai.OpenAI) -> None:
    first = client.chat.completions.parse(model="x", messages=HI, response_format=Answer, max_tokens=40)  # type: ignore[arg-type]
    again = client.chat.completions.create(model="x", messages=[*HI, first.choices[0].message, *HI], max_tokens=4)  # type: ignore[list-item]
    assert again.choices[0].message.content is not None


def test_pictures_are_refused_from_users_and_named_in_results(http: httpx.Client) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    reply = http.post(CHAT, json={"messages": [{"role": "user", "content": [picture]}]})
    assert reply.status_code == 400
    assert "image" in reply.json()["error"]["message"]
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        *HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": [picture]},
    ]  # fmt: skip
    chat(http, messages=messages)
    ids = http.post("/tokenize", json={"messages": messages}).json()["tokens"]
    assert "[image omitted]" in http.post("/detokenize", json={"tokens": ids}).json()["prompt"]
