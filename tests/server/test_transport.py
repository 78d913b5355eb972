"""What comes before an endpoint: paths, methods, encodings, JSON itself; and what the log says of it."""

from __future__ import annotations

import gc
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

import lutmac
from lutmac.server.app import create_app
from lutmac.server.endpoints import JsonRoute
from lutmac.server.logs import LogFormat, RequestRecord, log_request, set_up_logging
from lutmac.server.settings import Limits, Settings
from tiny_llama import TinyLlama

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def app(tiny: TinyLlama) -> Any:
    settings = Settings(names=("tiny",), origins=("https://app.example",), limits=Limits(body_bytes=1_000_000))
    return create_app(lutmac.load(tiny.path), settings)


@pytest.fixture(scope="module")
def http(app: Any) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", ["//v1/models", "/v1//models", "/v1/models/", "/v1/models///", "/models", "/models/"])
def test_base_urls_with_a_slash_too_many_or_without_version(http: TestClient, path: str) -> None:
    reply = http.get(f"http://localhost{path}", follow_redirects=False)
    assert reply.status_code == 200
    assert reply.json() == http.get("/v1/models").json()


@pytest.mark.parametrize("path", [CHAT + "/", "/chat/completions", "//chat//completions/"])
def test_posts_are_answered_without_a_redirect(http: TestClient, path: str) -> None:
    reply = http.post(f"http://localhost{path}", json=BODY)
    assert reply.status_code == 200
    assert reply.history == []


def test_head_is_get_without_a_body(http: TestClient) -> None:
    for path in ("/", "/v1/models", "/health/live"):
        head, get = http.head(path), http.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]


def test_a_method_that_a_path_lacks_is_told_with_those_that_it_has(http: TestClient) -> None:
    for method, path, allowed in (
        ("GET", CHAT, "POST"),
        ("GET", "/chat/completions", "POST"),
        ("DELETE", "/v1/messages", "POST"),
        ("PATCH", "/v1/responses/resp_1", "DELETE, GET, HEAD"),
        ("POST", "/health/live", "GET, HEAD"),
    ):
        reply = http.request(method, path)
        assert (reply.status_code, reply.headers["allow"]) == (405, allowed), path
        error = reply.json()["error"]
        assert error["type"] == "invalid_request_error"
    for method, path in (
        ("GET", "/v1"),
        ("GET", "/v1/audio/speech"),
        ("POST", "/v1/responses/compact"),
        ("HEAD", "/ping"),
    ):
        reply = http.request(method, path)
        assert reply.status_code == 404, path
        assert "allow" not in reply.headers


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
def test_compressed_bodies(http: TestClient, name: str, compress: Any) -> None:
    body = compress(json.dumps(BODY).encode())
    reply = http.post(CHAT, content=body, headers={**JSON, "content-encoding": name})
    assert reply.status_code == 200, reply.text


def test_encodings_that_are_not_read_and_bodies_that_are_not_what_they_say(http: TestClient) -> None:
    for name in ("br", "zstd", "gzip, gzip", "x"):
        reply = http.post(CHAT, content=b"{}", headers={**JSON, "content-encoding": name})
        assert reply.status_code == 415
        assert reply.headers["accept-encoding"] == "gzip, deflate"
    whole = gzip.compress(json.dumps(BODY).encode())
    for wrong in (b"{}", whole[:-4], whole[:20], whole + b"more"):
        reply = http.post(CHAT, content=wrong, headers={**JSON, "content-encoding": "gzip"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_encoding")


@pytest.mark.parametrize("copies", [1, 50])
def test_a_body_that_grows_beyond_the_limit_is_refused(http: TestClient, copies: int) -> None:
    bomb = gzip.compress(b" " * (50_000_000 // copies)) * copies
    reply = http.post(CHAT, content=bomb, headers={**JSON, "content-encoding": "gzip"})
    assert reply.status_code == 413
    assert "--max-body" in reply.json()["error"]["message"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_unicode_encoding(http: TestClient, encoding: str) -> None:
    assert http.post(CHAT, content=json.dumps(BODY).encode(encoding), headers=JSON).status_code == 200


def schema(text: str) -> str:
    form = f'{{"type": "json_schema", "json_schema": {{"name": "x", "schema": {text}}}}}'
    return f'{{"messages": [{{"role": "user", "content": "hi"}}], "max_tokens": 2, "response_format": {form}}}'


def kwargs(text: str) -> str:
    return f'{{"messages": [{{"role": "user", "content": "hi"}}], "max_tokens": 2, "chat_template_kwargs": {text}}}'


WRONG = {
    "NaN in a schema": (schema('{"type": "number", "minimum": NaN}'), "NaN"),
    "a bound beyond floats": (schema('{"type": "number", "minimum": 1e400}'), "schema.minimum"),
    "a lone surrogate in a schema": (schema('{"enum": ["\\ud83d"]}'), "enum[0]"),
    "a lone surrogate as a name": (schema('{"properties": {"\\ud83d": {}}}'), "schema.properties"),
    "a lone surrogate in metadata": (json.dumps({**BODY, "metadata": {"a": "\ud83d"}}), "metadata.a"),
    "a deep schema": (schema('{"properties": {"a":' * 200 + "{}" + "}}" * 200), "128 levels"),
    "deep template arguments": (kwargs('{"a":' + "[" * 900 + "]" * 900 + "}"), "128 levels"),
    "deeper than Python": (kwargs('{"a":' + "[" * 40_000 + "]" * 40_000 + "}"), "128 levels"),
    "self as a template argument": (kwargs('{"self": 1}'), "self is not for"),
    "an integer without end": ('{"messages": [], "seed": ' + "9" * 5000 + "}", "valid JSON"),
}


@pytest.mark.parametrize(("body", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_json_cannot_say_is_refused_with_its_place(http: TestClient, body: str, said: str) -> None:
    reply = http.post(CHAT, content=body.encode(), headers=JSON)
    assert reply.status_code == 400, reply.text
    assert said in json.dumps(reply.json(), ensure_ascii=False)


def test_more_values_than_anybody_means_are_refused_where_the_first_is_too_many(http: TestClient) -> None:
    for value, where in (
        ([""] * 70_000, "prompt[65"),
        ([[]] * 70_000, "prompt[65"),
        ({"a": [None] * 70_000}, "prompt.a[65"),
    ):
        body = json.dumps({"prompt": value}, separators=(",", ":"))
        reply = http.post("/v1/completions", content=body.encode(), headers=JSON)
        assert reply.status_code == 400
        assert where in reply.json()["error"]["param"]


def test_a_list_is_read_up_to_its_first_mistake_and_what_was_refused_is_let_go(http: TestClient) -> None:
    times, body = 5, json.dumps({"prompt": [1, "a", [1], {}, None] * 3000, "user": "x" * 50_000}).encode()

    def refuse() -> None:
        reply = http.post("/v1/completions", content=body, headers=JSON)
        assert reply.status_code == 400
        assert len(reply.content) < 500

    refuse()
    gc.collect()
    gc.disable()
    most = times * len(body) // 4  # neither the bodies nor what was wrong with them
    try:
        tracemalloc.start()
        for _ in range(times):
            refuse()
        deadline = time.monotonic() + 5  # the last one's end may lie behind its answer
        while (figures := tracemalloc.get_traced_memory())[0] >= most and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        tracemalloc.stop()
        gc.enable()
    kept, peak = figures
    assert kept < most
    assert peak < 10_000_000


def test_half_a_surrogate_pair_in_a_text_is_a_replacement_character(http: TestClient) -> None:
    body = b'{"input": "\\ud83d x", "instructions": "\\udc00", "max_output_tokens": 2}'
    reply = http.post("/v1/responses", content=body, headers=JSON)
    assert reply.status_code == 200, reply.text
    assert reply.json()["instructions"] == "\ufffd"
    assert http.post("/tokenize", content=b'{"prompt": "\\ud83d\\ude00"}', headers=JSON).status_code == 200


def test_chrome_may_ask_whether_a_page_may_call_a_server_in_its_network(http: TestClient) -> None:
    ask = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    reply = http.options(CHAT, headers={**ask, "origin": "https://app.example"})
    assert reply.status_code in (200, 204)
    assert reply.headers["access-control-allow-private-network"] == "true"
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    other = http.options(CHAT, headers={**ask, "origin": "https://other.example"})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers


def test_every_body_is_read_once(app: Any) -> None:
    """`new_router` makes routers whose handlers get the body as it was checked."""
    inner = app
    routes = [route for included in inner.routes for route in getattr(included, "original_router", inner).routes]
    posts = [route for route in routes if "POST" in (getattr(route, "methods", None) or ())]
    assert posts
    assert all(isinstance(route, JsonRoute) for route in posts), [route.path for route in posts]


@pytest.mark.parametrize("form", [LogFormat.text, LogFormat.json])
def test_a_line_of_the_log_is_one_line_whatever_a_path_holds(
    form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(form)
    forged = "/x\n2026-01-01 info request status=200 \x1b[2J\x9b1m\u202e" + "y" * 1000
    log_request(RequestRecord("req_1", "GET", forged, status=404))
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line) < 600
    if form is LogFormat.text:
        assert line.count(" status=") == 2  # the forged one stands within the quotes of the path
        assert 'path="/x\\n2026' in line
    else:
        assert json.loads(line)["status"] == 404
