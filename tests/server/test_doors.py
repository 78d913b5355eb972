"""Who gets in: keys, host names, other origins, addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from lutmac.errors import InvalidRequestError
from lutmac.server.auth import read_keys

FIRST, SECOND = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef"
BODY = {"prompt": "a", "max_tokens": 1}


def test_keys_open_the_door(serve: Any, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the team's\n{FIRST}\n\n")
    server = serve("--api-key-file", file, environment={"LUTMAC_API_KEY": SECOND})
    with server.client() as http:
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
    assert not any(FIRST in line or SECOND in line for line in server.lines)


def test_a_server_without_keys_is_spoken_to_by_its_own_name_only(serve: Any) -> None:
    server = serve("--allow-host", "models.example")
    with server.client() as http:
        assert http.get("/v1/models", headers={"host": "models.example:80"}).status_code == 200
        assert http.get("/v1/models", headers={"host": "[::1]:8080"}).status_code == 200
        refused = http.get("/v1/models", headers={"host": "attacker.example"})
        assert refused.status_code == 403
        assert "--allow-host" in refused.json()["error"]["message"]


def test_other_origins_are_kept_out_unless_named(serve: Any) -> None:
    ask = {"origin": "https://app.example", "access-control-request-method": "POST"}
    with serve().client() as http:
        assert "access-control-allow-origin" not in http.options("/v1/completions", headers=ask).headers
    with serve("--allow-origin", "https://app.example").client() as http:
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
