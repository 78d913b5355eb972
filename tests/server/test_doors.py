"""Who gets in: keys, host names, other origins, addresses. The application is called without a network between."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

import lutmac
from lutmac.errors import InvalidRequestError
from lutmac.server.app import create_app
from lutmac.server.auth import read_keys
from lutmac.server.settings import Settings
from tiny_llama import TinyLlama

FIRST, SECOND = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef"
BODY = {"prompt": "a", "max_tokens": 1}


@pytest.fixture(scope="module")
def model(tiny: TinyLlama) -> lutmac.Model:
    return lutmac.load(tiny.path)


def call(model: lutmac.Model, **settings: Any) -> TestClient:
    return TestClient(create_app(model, Settings(names=("tiny",), **settings)), base_url="http://localhost")


def test_keys_open_the_door(
    model: lutmac.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "keys"
    file.write_text(f"# the team's\n{FIRST}\n\n")
    monkeypatch.setenv("LUTMAC_API_KEY", SECOND)
    with call(model, api_keys=read_keys(file)) as http:
        for headers in (
            {"authorization": f"Bearer {FIRST}"},
            {"authorization": f"bearer {SECOND}"},
            {"x-api-key": FIRST},
        ):
            assert http.post("/v1/completions", json=BODY, headers=headers).status_code == 200
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": FIRST}, {"x-api-key": FIRST[:-1]}):
            for reply in (
                http.post("/v1/completions", json=BODY, headers=headers),
                http.get("/metrics", headers=headers),
            ):
                assert reply.status_code == 401
                assert reply.json()["error"]["code"] == "invalid_api_key"
        assert http.get("/health").status_code == 200
        assert http.get("/openapi.json").status_code == 200
        anthropic = http.post("/v1/messages", json={}).json()
        assert anthropic["error"]["type"] == "authentication_error"
    assert caplog.records
    assert not any(FIRST in str(vars(record)) or SECOND in str(vars(record)) for record in caplog.records)


def test_a_server_without_keys_is_spoken_to_by_its_own_name_only(model: lutmac.Model) -> None:
    with call(model, hosts=("models.example",)) as http:
        assert http.get("/v1/models", headers={"host": "models.example:80"}).status_code == 200
        assert http.get("/v1/models", headers={"host": "[::1]:8080"}).status_code == 200
        refused = http.get("/v1/models", headers={"host": "attacker.example"})
        assert refused.status_code == 403
        assert "--allow-host" in refused.json()["error"]["message"]


def test_other_origins_are_kept_out_unless_named(model: lutmac.Model) -> None:
    ask = {"origin": "https://app.example", "access-control-request-method": "POST"}
    with call(model) as http:
        assert "access-control-allow-origin" not in http.options("/v1/completions", headers=ask).headers
    with call(model, origins=("https://app.example",)) as http:
        allowed = http.options("/v1/completions", headers=ask)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        other = http.get("/v1/models", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "short\n", "with a space in the middle\n", "schlüssel-0123456789abc\n"]
)
def test_bad_key_files_are_told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUTMAC_API_KEY", raising=False)
    (tmp_path / "keys").write_text(text)
    with pytest.raises(InvalidRequestError, match="key"):
        read_keys(tmp_path / "keys")
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read_keys(tmp_path / "none")


def test_errors_in_a_stream_are_errors_with_a_status(http: httpx.Client) -> None:
    reply = http.post("/v1/completions", json={"prompt": "word " * 20000, "stream": True})
    assert reply.status_code == 400
