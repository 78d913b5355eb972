"""The OpenAPI document against the server: no request that it describes, right or wrong, gets an undocumented answer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
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


@pytest.fixture(scope="session")
def document(served: Served) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(
    max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate], derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_every_answer_is_documented(case: schemathesis.Case) -> None:
    body = case.body
    if isinstance(body, dict):  # what is right may ask for more than a test has time for
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            if isinstance(body.get(name), int) and body[name] > 4:
                body[name] = 4
        if "max_tokens" not in body and case.path.endswith(("completions", "messages")):
            body["max_tokens"] = 4
        if "max_output_tokens" not in body and case.path.endswith("responses"):
            body["max_output_tokens"] = 4
    case.call_and_validate(checks=CHECKS, timeout=60)


def test_no_endpoint_promises_422(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert "422" not in json.dumps(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "post":
                assert {"200", "400", "401", "413", "415", "429", "500", "503"} <= operation["responses"].keys(), path
