"""A model that reads whole texts behind the server: vectors as in Python, and a clear no to whoever wants text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from serving import Served, start

ROOT = Path(__file__).parents[1] / "models" / "architectures"
sys.path.insert(0, str(ROOT))

from encoder_cases import CASES  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402

TEXTS = ["a", "A longer text that is embedded.", "zz " * 90]
CHAT = {"messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("encoder") / "bert"
    config = CASES["bert"].config
    shapes = json.loads((ROOT / "encoder_shapes.json").read_text())["bert"]
    write_checkpoint(directory, config, random_weights(config, shapes))
    return directory


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[Served]:
    served = start(model_path, "--name", "bert")
    yield served
    served.process.kill()
    served.process.wait()


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [("/v1/embeddings", {"input": TEXTS}, "data"), ("/api/embed", {"model": "bert", "input": TEXTS}, "embeddings")],
)
def test_vectors_are_those_of_python(
    server: Served, model_path: Path, path: str, body: dict[str, Any], key: str
) -> None:
    expected = lutmac.load(model_path, threads=1).embed(TEXTS)
    with server.client() as client:
        reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    found = [item["embedding"] if isinstance(item, dict) else item for item in reply.json()[key]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "Hello"}),
        ("/v1/completions", {"prompt": "Hello", "stream": True}),
        ("/completion", {"prompt": "Hello"}),
        ("/api/generate", {"model": "bert", "prompt": "Hello", "raw": True}),
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", {**CHAT, "max_tokens": 5}),
    ],
)
def test_whoever_wants_text_is_told(server: Served, path: str, body: dict[str, Any]) -> None:
    with server.client() as client:
        reply = client.post(path, json=body)
    assert reply.status_code == 400, reply.text
    if "messages" not in body:  # a chat has no template here, which is told first
        assert "generates none; ask it for embeddings" in reply.text


def test_ollamas_clients_see_that_it_makes_vectors_only(server: Served) -> None:
    with server.client() as client:
        assert client.post("/api/show", json={"model": "bert"}).json()["capabilities"] == ["embedding"]
