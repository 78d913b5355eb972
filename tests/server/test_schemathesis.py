"""The OpenAPI document against the server: no request, right or wrong, gets an answer that is not documented."""

from __future__ import annotations

import json

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving import Served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


POSTS = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/messages",
    "/v1/messages/count_tokens", "/tokenize", "/detokenize", "/apply-template", "/completion", "/infill", "/api/chat",
    "/api/generate", "/api/embed", "/api/embeddings", "/api/show", "/v1/responses/input_tokens",
    "/v1/responses/{response_id}/cancel", "/v1/batches", "/v1/batches/{batch_id}/cancel", "/v1/files",
    "/v1/models/load", "/v1/models/unload", "/v1/rerank", "/v1/reranking",
)  # fmt: skip
# What these take is as much as the fast run has time for in the others.
ONLY_SLOW = ("/v1/messages/count_tokens", "/apply-template", "/completion", "/infill", "/api/",
             "/v1/responses/", "/v1/batches", "/v1/files", "/v1/models/", "/v1/reranking")  # fmt: skip
GETS = (
    "/v1/models", "/v1/models/{model}", "/v1/responses/{response_id}", "/health", "/health/live", "/health/ready",
    "/metrics", "/props", "/slots", "/tokenizer_info",
    "/v1/responses/{response_id}/input_items", "/v1/files", "/v1/files/{file_id}", "/v1/files/{file_id}/content",
    "/v1/batches", "/v1/batches/{batch_id}", "/api/tags", "/api/ps", "/api/version",
)  # fmt: skip
OPERATIONS = [
    *(("POST", path) for path in POSTS), *(("GET", path) for path in GETS), ("DELETE", "/v1/responses/{response_id}"),
    ("DELETE", "/v1/files/{file_id}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def document(served: Served) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


def test_all_operations_are_tried(document: BaseSchema) -> None:
    found = {(item.ok().method.upper(), item.ok().path) for item in document.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("examples", [3, pytest.param(30, marks=pytest.mark.slow)])  # a schema's strategies take long
def test_every_answer_is_documented(
    document: BaseSchema, method: str, path: str, mode: GenerationMode, examples: int
) -> None:
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and (method != "POST" or path.endswith("/cancel")):
        return  # nothing of theirs can be wrong
    if method == "POST" and path.startswith(ONLY_SLOW) and examples < 10:
        return

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        bound(case)
        case.call_and_validate(checks=CHECKS, timeout=60)

    run()


def bound(case: schemathesis.Case) -> None:
    """Keeps a reply short: what is right may ask for more than a test has time for."""
    if isinstance(case.body, dict) and case.path.startswith("/api/"):
        options = case.body.get("options")
        if options is None:  # absent, too: what limits a reply stands in it
            options = {}
        if isinstance(options, dict):
            case.body["options"] = {**options, "max_tokens": 3}
        return
    name = "max_output_tokens" if case.path.endswith("responses") else "max_tokens"
    if isinstance(case.body, dict) and case.path.endswith(
        ("completions", "responses", "/messages", "/completion", "/infill")
    ):
        wish = case.body.get(name)
        if wish in (None, -1):  # both ask for a reply without a limit
            case.body[name] = 3
        elif type(wish) is int:
            case.body[name] = min(wish, 3)
        if isinstance(case.body.get("n"), int):
            case.body["n"] = min(case.body["n"], 2)


def test_no_endpoint_promises_422(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert "422" not in json.dumps(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "post":
                assert {"200", "400", "401", "413", "415", "429", "500", "503"} <= operation["responses"].keys(), path
