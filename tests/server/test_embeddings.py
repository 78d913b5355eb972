"""/v1/embeddings over the network: what it takes, what it refuses before computing, and who waits for whom."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from starlette.testclient import TestClient
from test_lifecycle import figure, wait_until

import lutmac
from lutmac.server.app import create_app
from lutmac.server.settings import Settings
from serving import Served, start

MODELS = Path(__file__).parents[1] / "engine" / "embedding_models"
sys.path.insert(0, str(MODELS))

from gguf_files import LAST, write_gguf  # noqa: E402

TEXTS: list[str] = json.loads((MODELS / "texts.json").read_text())["texts"][:4]
PATH = "/v1/embeddings"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 with the last token's state as vector, and an end token."""
    return write_gguf(tmp_path_factory.mktemp("embedding") / "tiny.gguf", LAST)


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[Served]:
    served = start(model_path, "--name", "tiny")
    yield served
    served.process.kill()
    served.process.wait()


@pytest.fixture
def web(server: Served) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def expected(model_path: Path) -> np.ndarray:
    return lutmac.load(model_path, threads=1).embed(TEXTS)


def vectors(reply: httpx.Response) -> np.ndarray:
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.array([item["embedding"] for item in data])


def test_openais_client_gets_the_models_vectors(server: Served, expected: np.ndarray) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    found = client.embeddings.create(model="tiny", input=TEXTS)  # as base64, the client's default
    np.testing.assert_allclose([item.embedding for item in found.data], expected, atol=1e-6)
    short = client.embeddings.create(model="tiny", input=TEXTS, dimensions=16)
    first = expected[:, :16]
    np.testing.assert_allclose(
        [item.embedding for item in short.data], first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6
    )
    with pytest.raises(openai.BadRequestError, match="1 to 64") as refused:
        client.embeddings.create(model="tiny", input=TEXTS, dimensions=65)
    assert refused.value.param == "dimensions"


def test_every_form_of_input(web: httpx.Client, expected: np.ndarray) -> None:
    ids = [web.post("/tokenize", json={"prompt": text}).json()["tokens"] for text in TEXTS]
    for given in (TEXTS, ids):
        reply = web.post(PATH, json={"input": given, "user": "me"})
        np.testing.assert_allclose(vectors(reply), expected, atol=1e-6)
        assert reply.json()["usage"] == {"prompt_tokens": sum(map(len, ids)), "total_tokens": sum(map(len, ids))}
    for one in (TEXTS[0], ids[0]):
        np.testing.assert_allclose(vectors(web.post(PATH, json={"input": one})), expected[:1], atol=1e-6)
    encoded = web.post(PATH, json={"input": TEXTS, "encoding_format": "base64"}).json()["data"]
    decoded = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in encoded]
    np.testing.assert_allclose(decoded, expected, atol=1e-6)


def test_control_tokens_in_a_text_are_text(web: httpx.Client) -> None:
    plain = web.post(PATH, json={"input": "a<|endoftext|>b"}).json()["usage"]["prompt_tokens"]
    assert plain > 10


WRONG: dict[str, dict[str, Any]] = {
    "no input": {},
    "an empty list": {"input": []},
    "an empty text": {"input": ""},
    "an empty text among others": {"input": ["a", ""]},
    "no ids": {"input": [[1], []]},
    "an id beyond the vocabulary": {"input": [[1], [323]]},
    "a negative id": {"input": [-1]},
    "numbers that are no ids": {"input": [1.5]},
    "an object": {"input": {"text": "a"}},
    "texts and ids": {"input": ["a", [1]]},
    "too many texts": {"input": ["a"] * 2049},
    "too many tokens together": {"input": ["word " * 40] * 2000},
    "a text that is too long": {"input": ["a", "word " * 200]},
    "ids that are too long": {"input": [1] * 257},
    "no dimensions": {"input": "a", "dimensions": 0},
    "too many dimensions": {"input": "a", "dimensions": 65},
    "a format that there is not": {"input": "a", "encoding_format": "int8"},
    "a prompt that the model has not": {"input": "a", "prompt_name": "query"},
    "a prompt before ids": {"input": [1], "prompt": "query: "},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_refused_before_anything_is_computed(
    web: httpx.Client, server: Served, body: dict[str, Any]
) -> None:
    before = figure(server, "lutmac_prompt_tokens_total")
    reply = web.post(PATH, json=body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] in ("input", "dimensions", "encoding_format", "prompt_name") or "input" in error["param"]
    assert figure(server, "lutmac_prompt_tokens_total") == before


def test_a_text_that_is_too_long_is_cut_where_the_client_says_so(web: httpx.Client) -> None:
    text = "word " * 200
    refused = web.post(PATH, json={"input": ["a", text]}).json()["error"]
    assert refused["code"] == "context_length_exceeded"
    assert "input[1]" in refused["message"]
    assert "maximum context length is 256 tokens" in refused["message"]
    for way in ({"truncate": True}, {"truncate": "END"}, {"truncate_prompt_tokens": -1}):
        reply = web.post(PATH, json={"input": ["a", text], **way})
        assert vectors(reply).shape == (2, 64)
        assert reply.json()["usage"]["prompt_tokens"] == 2 + 256


def test_unscaled_where_the_client_says_so(web: httpx.Client, expected: np.ndarray) -> None:
    found = vectors(web.post(PATH, json={"input": TEXTS, "normalize": False}))
    lengths = np.linalg.norm(found, axis=1)
    assert lengths.min() > 2
    np.testing.assert_allclose(found / lengths[:, None], expected, atol=1e-5)


def test_one_text_and_a_chat_are_answered_while_another_clients_thousand_are_read(server: Served) -> None:
    """By order, not by the clock: the many are still being read when the others have their answers, several times."""
    texts = [
        f"{number:04} is the beginning, so that no text finds another in the cache{' word' * 30}"
        for number in range(1300)
    ]
    body = json.dumps({"input": texts}).encode()
    answered = threading.Event()

    def hog(connection: socket.socket) -> None:
        if connection.recv(1):
            answered.set()

    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection, server.client() as web:
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        thread = threading.Thread(target=hog, args=(connection,), daemon=True)
        thread.start()
        wait_until(lambda: figure(server, "lutmac_requests_running") > 0)
        for _ in range(3):
            assert vectors(web.post(PATH, json={"input": TEXTS[0]})).shape == (1, 64)
            reply = web.post("/v1/completions", json={"prompt": "one two", "max_tokens": 4})
            assert reply.status_code == 200, reply.text
        assert not answered.is_set()
        connection.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: figure(server, "lutmac_requests_running") == 0)
    thread.join(10)
    assert not answered.is_set()


def test_a_models_prompts_by_the_names_of_other_services(tmp_path: Path) -> None:
    """sentence-transformers' names, and the two sides of a search as others call them."""
    shutil.copytree(MODELS / "base", tmp_path / "m")
    shutil.copytree(MODELS / "variants" / "prompts", tmp_path / "m", dirs_exist_ok=True)
    model = lutmac.load(tmp_path / "m", threads=1)
    expected = {name: model.embed(TEXTS, prompt_name=name) for name in ("query", "document")}
    expected["none"] = model.embed(TEXTS)
    with TestClient(create_app(model, Settings(names=("m",))), base_url="http://127.0.0.1") as web:
        for wish, name in (
            ({"prompt_name": "query"}, "query"), ({"prompt": "passage: "}, "document"), ({}, "none"),
            ({"input_type": "query"}, "query"), ({"input_type": "search_query"}, "query"),
            ({"input_type": "passage"}, "document"), ({"input_type": "search_document"}, "document"),
            ({"input_type": "clustering"}, "none"),
        ):  # fmt: skip
            np.testing.assert_allclose(
                vectors(web.post(PATH, json={"input": TEXTS, **wish})), expected[name], atol=1e-6
            )
        refused = web.post(PATH, json={"input": TEXTS, "prompt_name": "q"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "prompt_name"
    model.worker.close()
