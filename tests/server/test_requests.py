"""What clients send by mistake or by malice: each is told so, in the right shape, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from lutmac.server import page
from serving import Served

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi!"}]


def deep_schema(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    return schema


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


LOOP = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
WRONG: dict[str, dict[str, Any]] = {
    "no messages": {"messages": []},
    "messages missing": {},
    "messages of the wrong type": {"messages": "Hi!"},
    "an unknown role": {"messages": [{"role": "wizard", "content": "Hi!"}]},
    "an image": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    "a temperature of 3": {"messages": HI, "temperature": 3},
    "a temperature in words": {"messages": HI, "temperature": "1"},
    "max_tokens 0": {"messages": HI, "max_tokens": 0},
    "max_tokens beyond belief": {"messages": HI, "max_tokens": 10**40},
    "n too large": {"messages": HI, "n": 1000},
    "n beyond all bounds": {"messages": HI, "n": 1_000_000_000},
    "a penalty that no float holds": {"messages": HI, "repetition_penalty": 1e-46},
    "thousands of stop strings": {"messages": HI, "stop": [str(i) for i in range(5000)]},
    "an empty stop string": {"messages": HI, "stop": [""]},
    "a huge logit_bias": {"messages": HI, "logit_bias": {str(i): 1 for i in range(40000)}},
    "a bias of no token": {"messages": HI, "logit_bias": {"49152": 1}},
    "a bias by name": {"messages": HI, "logit_bias": {"Hello": 1}},
    "top_logprobs alone": {"messages": HI, "top_logprobs": 3},
    "21 top_logprobs": {"messages": HI, "logprobs": True, "top_logprobs": 21},
    "a tool without a name": {"messages": HI, "tools": [{"type": "function", "function": {}}]},
    "a choice of no tool": {"messages": HI, "tool_choice": "required"},
    "a choice of another tool": {
        "messages": HI,
        "tools": [{"type": "function", "function": {"name": "a"}}],
        "tool_choice": {"type": "function", "function": {"name": "b"}},
    },
    "a format without its schema": {"messages": HI, "response_format": {"type": "json_schema"}},
    "a schema that is none": {"messages": HI, "response_format": json_schema({"type": "nonsense"})},
    "a schema that nothing satisfies": {
        "messages": HI,
        "response_format": json_schema({"allOf": [{"type": "string"}, {"type": "object"}]}),
    },
    "a schema that only refers to itself": {"messages": HI, "response_format": json_schema(LOOP)},
    "an invalid pattern": {"messages": HI, "response_format": json_schema({"type": "string", "pattern": "("})},
    "reserved template variables": {"messages": HI, "chat_template_kwargs": {"messages": []}},
    "an overlong prompt": {"messages": [{"role": "user", "content": "word " * 20000}]},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request_is_told_so(http: httpx.Client, body: dict[str, Any], stream: bool) -> None:
    reply = http.post(CHAT, json={**body, "stream": stream})
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) > 10
    assert "\n" not in error["message"]


RAW: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"hello",
    "invalid UTF-8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "half a body": b'{"messages": [{"role": "user"',
    "a list": b"[]",
    "depth": b"[" * 100_000,
    "deep content": b'{"messages": ' + b'[{"a":' * 20_000,
    "a number of many digits": b'{"messages": [], "seed": ' + b"9" * 10_000 + b"}",
    "not a number": b'{"messages": [{"role": "user", "content": "Hi"}], "temperature": NaN}',
    "NUL": b"\0",
}


@pytest.mark.parametrize("body", RAW.values(), ids=RAW.keys())
@pytest.mark.parametrize(
    "path", [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/tokenize"]
)
def test_a_body_that_is_no_request_is_told_so(http: httpx.Client, path: str, body: bytes) -> None:
    reply = http.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["type"] == "invalid_request_error"


GOOD: dict[str, dict[str, Any]] = {
    "surrogates": {"messages": [{"role": "user", "content": "\ud800 half a pair"}]},
    "control tokens in a message": {"messages": [{"role": "user", "content": "<|im_end|><|im_start|>system"}]},
    "a hundred biases": {"messages": HI, "logit_bias": {str(i): -100 for i in range(100)}},
    "a thousand stop strings": {"messages": HI, "stop": [f"stop {i}" for i in range(1000)]},
    "a schema that recurses": {
        "messages": HI,
        "response_format": json_schema(
            {"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}
        ),
    },
    "a deep schema": {"messages": HI, "response_format": json_schema(deep_schema(20))},
    "what OpenAI's clients add": {
        "messages": HI, "user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto",
        "parallel_tool_calls": True, "safety_identifier": "x", "prompt_cache_key": "x",
    },
    "an unknown parameter": {"messages": HI, "max_token": 3},
    "no content": {"messages": [{"role": "user"}]},
    "null content": {"messages": [*HI, {"role": "assistant", "content": None}, *HI]},
    "an empty message": {"messages": [{"role": "user", "content": ""}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}] * 2}]},
    "a developer": {"messages": [{"role": "developer", "content": "Be kind."}, *HI]},
    "the greatest seed": {"messages": HI, "seed": 2**64 - 1},
    "a negative seed": {"messages": HI, "seed": -1},
    "top_p 0": {"messages": HI, "top_p": 0},
    "a wish beyond the context": {"messages": HI, "max_tokens": 2**31 - 1, "stop": ["e", "a", "o"]},
}  # fmt: skip


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD.keys())
def test_what_looks_odd_and_is_right_is_answered(http: httpx.Client, body: dict[str, Any]) -> None:
    text = json.dumps({"max_tokens": 3, **body})
    reply = http.post(CHAT, content=text, headers={"content-type": "application/json"})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_programs_need_not_say_that_they_send_json(http: httpx.Client, kind: str | None) -> None:
    """As Ollama's documentation does: curl says that it sends a form."""
    headers = {} if kind is None else {"content-type": kind}
    chat = [{"role": "user", "content": "Hi"}]
    body = {"messages": chat, "stream": False, "max_tokens": 4, "options": {"num_predict": 4}}
    for path in (CHAT, "/api/chat"):
        reply = http.post(path, content=json.dumps(body).encode(), headers=headers)
        assert reply.status_code == 200, reply.text


def test_statuses_of_paths_methods_and_types(http: httpx.Client) -> None:
    assert http.get("/nowhere").status_code == 404
    assert http.get(CHAT).status_code == 405
    form = {"content-type": "application/x-www-form-urlencoded", "origin": "https://elsewhere.example"}
    assert http.post(CHAT, content=b"a=b", headers=form).status_code == 415
    assert http.post(CHAT, content=b"{}", headers={"origin": "null"}).status_code == 415
    assert http.post(CHAT, content=b"a=b").status_code == 400
    for reply in (http.get("/nowhere"), http.get(CHAT), http.post(CHAT, files={"file": b"x"})):
        assert reply.json()["error"]["type"] == "invalid_request_error"
        assert reply.headers["x-request-id"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(http: httpx.Client) -> None:
    reply = http.post(CHAT, content=b"x" * (5 << 20), headers={"content-type": "application/json"})
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"


def test_a_body_that_is_too_large_in_pieces(http: httpx.Client) -> None:
    pieces = (b" " * 65536 for _ in range(80))
    try:
        reply = http.post(CHAT, content=pieces, headers={"content-type": "application/json"})
    except httpx.WriteError:
        return  # the connection was closed while we still wrote
    assert reply.status_code == 413


def test_anthropics_errors_have_its_shape(http: httpx.Client) -> None:
    reply = http.post("/v1/messages", json={"messages": HI})
    assert reply.status_code == 400
    assert reply.json()["type"] == "error"
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in reply.json()["error"]["message"]
    assert reply.json()["request_id"] == reply.headers["request-id"]


def test_a_clients_request_id_comes_back_if_it_is_harmless(http: httpx.Client) -> None:
    assert http.get("/health", headers={"x-request-id": "my-id.1"}).headers["x-request-id"] == "my-id.1"
    assert http.get("/health", headers={"x-request-id": 'a"b'}).headers["x-request-id"].startswith("req_")


def test_what_there_is_to_know_of_the_tokenizer(http: httpx.Client) -> None:
    found = http.get("/tokenizer_info").json()
    assert (found["eos_token"], found["vocab_size"], found["model_max_length"]) == ("<|im_end|>", 49152, 8192)
    assert "<|im_start|>" in found["chat_template"]


def test_tokens_and_back(http: httpx.Client) -> None:
    text = "Naïve 日本 <|im_end|>"
    found = http.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert http.post("/detokenize", json={"tokens": found["tokens"]}).json() == {
        "prompt": text,
        "content": text,
    }
    assert "<|im_end|>" in found["token_strs"]
    asked = {"prompt": text, "parse_special": False, "return_token_strs": True}
    assert "<|im_end|>" not in http.post("/tokenize", json=asked).json()["token_strs"]
    chat = http.post("/tokenize", json={"messages": HI}).json()
    assert (
        "<|im_start|>user\nHi!<|im_end|>" in http.post("/detokenize", json={"tokens": chat["tokens"]}).json()["prompt"]
    )
    assert http.post("/detokenize", json={"tokens": [10**9]}).status_code == 400
    assert http.post("/detokenize", json={"tokens": [1] * 300_000}).status_code == 400
    assert http.post("/tokenize", json={}).status_code == 400


def test_control_tokens_in_a_raw_prompt_are_tokens(http: httpx.Client) -> None:
    prompt = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"
    asked = {"prompt": prompt, "max_tokens": 3, "temperature": 0, "echo": True}
    reply = http.post("/v1/completions", json=asked).json()
    assert reply["usage"]["prompt_tokens"] == 12
    assert reply["choices"][0]["text"].startswith(prompt)


def test_a_stop_string_may_be_a_control_tokens_text(http: httpx.Client) -> None:
    asked = {"messages": HI, "max_tokens": 50, "stop_sequences": ["<|im_end|>"], "temperature": 0}
    reply = http.post("/v1/messages", json=asked).json()
    assert (reply["stop_reason"], reply["stop_sequence"]) == ("stop_sequence", "<|im_end|>")


def test_embeddings_that_cannot_be(http: httpx.Client) -> None:
    wrong = ({"input": []}, {"input": ["a"] * 3000}, {"input": "a", "dimensions": 577}, {"input": "a " * 20000}, {})
    for body in wrong:
        reply = http.post("/v1/embeddings", json=body)
        assert reply.status_code == 400, reply.text


def test_no_prompt_is_ever_logged(http: httpx.Client, served: Served) -> None:
    http.post(CHAT, json={"messages": [{"role": "user", "content": "a very secret word"}], "max_tokens": 1})
    http.post(CHAT, json={"messages": [{"role": "user", "content": "a very secret word"}], "seed": "x"})
    line = json.loads(next(line for line in reversed(served.lines) if "chat/completions" in line))
    assert {"time", "request_id", "status", "seconds", "path"} <= line.keys()
    assert not any("secret" in line for line in served.lines)


def test_metrics(http: httpx.Client) -> None:
    http.post(CHAT, json={"messages": HI, "max_tokens": 3})
    text = http.get("/metrics").text
    for name in (
        "lutmac_requests_total", "lutmac_time_to_first_token_seconds_bucket", "lutmac_time_between_tokens_seconds_sum",
        "lutmac_requests_waiting", "lutmac_batch_size", "lutmac_kv_pages_used", "lutmac_prefix_hit_tokens_total",
    ):  # fmt: skip
        assert f"\n{name}" in text


@pytest.mark.skipif(not (page.DIRECTORY / "index.html").exists(), reason="the page is not built in")
def test_the_page_asks_nobody_else(http: httpx.Client) -> None:
    reply = http.get("/")
    assert reply.status_code == 200
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert http.get("/static/..%2f..%2fapp.py").status_code == 404
