"""/v1/rerank: the bodies that its clients send, what comes back, and what is refused before computing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import lutmac
from lutmac.server.app import create_app
from lutmac.server.settings import Limits, Settings

MODELS = Path(__file__).parents[1] / "engine" / "ranking_models"
sys.path.insert(0, str(MODELS))

from random_rerankers import DOCUMENTS, QUERY, write_judge  # noqa: E402

SCORES = json.loads((MODELS / "scores.json").read_text())["judge"]
BEST = sorted(range(len(SCORES)), key=lambda index: -SCORES[index])
BODY: dict[str, Any] = {"model": "m", "query": QUERY, "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = write_judge(tmp_path_factory.mktemp("ranking") / "tiny-reranker")
    model = lutmac.load(folder, precision="exact", kv_cache="f32", threads=1, context=800)
    settings = Settings(names=("m",), limits=Limits(inputs=8, embedding_tokens=8000))
    with TestClient(create_app(model, settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking", "/v1/rerank/"])
def test_the_best_documents_come_first(web: TestClient, path: str) -> None:
    found = web.post(path, json=BODY).json()
    assert [result["index"] for result in found["results"]] == BEST
    assert [result["relevance_score"] for result in found["results"]] == pytest.approx(
        [SCORES[index] for index in BEST], abs=1e-5
    )
    assert found["model"] == "m"
    assert found["object"] == "list"
    assert found["id"].startswith("rerank-")
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] > 1000
    assert "document" not in found["results"][0]


def test_texts_come_back_where_they_are_wanted(web: TestClient) -> None:
    """Jina's and Cohere's fields; documents may be objects, whose other fields are left out."""
    objects = [{"text": text, "title": "x"} for text in DOCUMENTS]
    body = {**BODY, "documents": objects, "top_n": 2, "return_documents": True}
    found = web.post("/v1/rerank", json=body).json()["results"]
    assert [(one["index"], one["document"]) for one in found] == [
        (index, {"text": DOCUMENTS[index]}) for index in BEST[:2]
    ]
    assert len(web.post("/v1/rerank", json={**BODY, "top_n": 100}).json()["results"]) == len(DOCUMENTS)
    assert len(web.post("/v1/rerank", json={**BODY, "top_k": 1}).json()["results"]) == 1  # Voyage's name


def test_text_embeddings_inference_gets_its_own_form(web: TestClient) -> None:
    found = web.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS, "return_text": True, "truncate": True}).json()
    assert [one["index"] for one in found] == BEST
    assert found[0]["text"] == DOCUMENTS[BEST[0]]
    assert found[0]["score"] == pytest.approx(SCORES[BEST[0]], abs=1e-5)
    assert set(web.post("/rerank", json={"query": QUERY, "texts": ["a"]}).json()[0]) == {"index", "score"}


def test_an_instruction_changes_the_scores(web: TestClient) -> None:
    plain, other = (
        web.post("/v1/rerank", json={**BODY, **more}).json()["results"]
        for more in ({}, {"instruction": "Find the animals"})
    )
    assert plain != other
    assert web.post("/v1/rerank", json={**BODY, "instruct": "Find the animals"}).json()["results"] == other


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"documents": []}, "documents", "documents is empty"),
        ({"documents": None}, "documents", "give documents"),
        ({"texts": ["a"]}, "documents", "give documents, or texts"),
        ({"documents": ["a"] * 9}, "documents", "at most 8"),
        ({"documents": [7]}, "documents", "documents"),
        ({"query": None}, "query", "query"),
        ({"query": "mice " * 300}, "query", r"documents\[0\]: .* the query is too long"),
        ({"documents": ["mice " * 400] * 8, "query": "x " * 150}, None, None),  # cut, not refused
        ({"top_n": 0}, "top_n", "top_n"),
        ({"model": "other"}, None, None),
    ],
)
def test_what_is_wrong_is_named(
    web: TestClient, change: dict[str, Any], param: str | None, message: str | None
) -> None:
    reply = web.post("/v1/rerank", json={**BODY, **change})
    if param is None:
        assert reply.status_code == 200, reply.text
        return
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["param"].startswith(param)
    assert message is not None
    assert re.search(message, error["message"]), error


def test_a_model_that_ranks_nothing_says_so(tiny_model: lutmac.Model) -> None:
    with TestClient(create_app(tiny_model, Settings(names=("m",))), base_url="http://127.0.0.1") as client:
        reply = client.post("/v1/rerank", json=BODY)
    assert reply.status_code == 400
    assert "this model ranks nothing" in reply.json()["error"]["message"]
