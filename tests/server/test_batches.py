"""/v1/files and /v1/batches through OpenAI's client."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest

from serving import Served

URL = "/v1/chat/completions"


def line(name: str, url: str = URL, **fields: Any) -> dict[str, Any]:
    body = {"model": "any", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 3, **fields}
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def upload(client: openai.OpenAI, lines: list[Any]) -> Any:
    text = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in lines)
    return client.files.create(file=("in.jsonl", text.encode()), purpose="batch")


def ended(client: openai.OpenAI, id: str) -> Any:
    deadline = time.monotonic() + 60
    while (batch := client.batches.retrieve(id)).status in ("validating", "in_progress", "finalizing"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return batch


def read(client: openai.OpenAI, id: str) -> dict[str, Any]:
    return {entry["custom_id"]: entry for entry in map(json.loads, client.files.content(id).text.splitlines())}


def test_a_batch(client: openai.OpenAI) -> None:
    source = upload(
        client, [line("one"), line("two", temperature=9), line("three", url="/v1/embeddings"), "{", line("four")]
    )
    assert (source.filename, source.purpose) == ("in.jsonl", "batch")
    batch = client.batches.create(input_file_id=source.id, endpoint=URL, completion_window="24h", metadata={"a": "b"})
    batch = ended(client, batch.id)
    assert (batch.status, batch.metadata) == ("completed", {"a": "b"})
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (5, 2, 3)
    answers = read(client, batch.output_file_id or "")
    assert answers.keys() == {"one", "four"}
    assert answers["one"]["response"]["body"]["choices"][0]["message"]["content"]
    errors = read(client, batch.error_file_id or "")
    assert errors["two"]["response"]["status_code"] == 400
    assert errors["three"]["error"]["code"] == "mismatched_endpoint"
    assert errors[None]["error"]["code"] == "invalid_json_line"  # type: ignore[index]
    assert batch.id in [item.id for item in client.batches.list()]


def test_a_batch_is_cancelled(client: openai.OpenAI) -> None:
    source = upload(client, [line(str(i), max_tokens=200, stop=None, ignore_eos=True) for i in range(40)])
    batch = client.batches.create(input_file_id=source.id, endpoint=URL, completion_window="24h")
    assert client.batches.cancel(batch.id).status == "cancelled"
    counts = client.batches.retrieve(batch.id).request_counts
    assert counts is not None
    assert counts.completed < 40
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(batch.id)


def test_files(client: openai.OpenAI, http: httpx.Client) -> None:
    data = bytes(range(256)) * 3
    file = client.files.create(file=("data.bin", data), purpose="user_data")
    assert file.bytes == len(data)
    assert client.files.content(file.id).content == data
    assert file.id in [item.id for item in client.files.list(purpose="user_data")]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    assert http.post("/v1/files", files={"other": b"x"}).status_code == 400
    assert http.post("/v1/files", json={}).status_code == 415
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert http.post("/v1/files", content=b"no form", headers=form).status_code == 400
    elsewhere = http.post("/v1/files", files={"file": b"x"}, headers={"origin": "https://evil.example"})
    assert elsewhere.status_code == 403


def test_mistakes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint=URL, completion_window="24h")
    source = upload(client, [line("one")])
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        client.batches.create(input_file_id=source.id, endpoint="/v1/images", completion_window="24h")  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


def test_a_batch_has_the_key_of_whoever_sent_it(serve: Any, tmp_path: Any) -> None:
    (keys := tmp_path / "keys").write_text("secret-of-32-characters-for-tests\n")
    server: Served = serve("--api-key-file", str(keys))
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret-of-32-characters-for-tests", max_retries=0)
    source = upload(client, [{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "a", "max_tokens": 1}}])
    batch = client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="24h")
    assert ended(client, batch.id).request_counts.completed == 1
    assert not any("secret" in written for written in server.lines)
