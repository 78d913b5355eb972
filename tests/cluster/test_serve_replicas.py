"""`lutmac serve --ray` on several nodes: one server to its clients, whatever happens to replicas and nodes."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from processes import named
from ray.cluster_utils import Cluster

import lutmac
from serving import Served

pytestmark = pytest.mark.slow
REPLICA = b"ray::ServeReplica:lutmac"
KEY = "a-key-of-this-test"
ENDLESS = {"prompt": "Once upon a time", "max_tokens": 3000, "ignore_eos": True, "temperature": 0}


def figures(server: Served, name: str, **headers: str) -> dict[str, float]:
    """A figure of each replica."""
    with server.client() as http:
        text = http.get("/metrics", headers=headers).text
    return {found[1]: float(found[2]) for found in re.finditer(rf'^{name}{{replica="(\w+)"}} (\S+)', text, re.M)}


def wait_until(condition: Callable[[], Any], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.2)


def stream(server: Served, seconds: float = 60) -> list[str]:
    """What a client gets of a long stream, at most for so long."""
    end = time.monotonic() + seconds
    lines = []
    with (
        server.client() as http,
        http.stream("POST", "/v1/completions", json={**ENDLESS, "stream": True}) as reply,
    ):
        for line in reply.iter_lines():
            if line:
                lines.append(line)
            if time.monotonic() > end:
                break
    return lines


def submit(pool: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
    """Starts a call; replicas get these in turn, since each sees where the one before went."""
    time.sleep(0.5)
    return pool.submit(function, *arguments, **options)


def code_of(line: str) -> str | None:
    """The code of an error event, None for any other line."""
    data = line.removeprefix("data: ")
    return json.loads(data).get("error", {}).get("code") if data.startswith("{") else None


def complete(server: Served, **body: Any) -> httpx.Response:
    with server.client() as http:
        return http.post("/v1/completions", json={"prompt": "a", "max_tokens": 4, **body})


def test_replicas_are_one_server_to_clients(serve_replicas: Any, smollm2_path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    server = serve_replicas("--replicas", 2, "--api-key-file", keys, "--max-body", 5000)
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)
    headers = {"authorization": f"Bearer {KEY}"}

    asked = {"model": "smollm2", "prompt": "The sky is", "max_tokens": 12, "temperature": 0}
    expected = lutmac.load(smollm2_path, threads=1).generate("The sky is", max_tokens=12, temperature=0).text
    with ThreadPoolExecutor(8) as pool:
        whole = list(pool.map(lambda _: client.completions.create(**asked).choices[0].text, range(8)))
    assert whole == [expected] * 8
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True) if chunk.choices]
    assert "".join(pieces) == expected
    assert len(pieces) > 6

    with server.client() as http:
        assert http.get("/health").json() == {"status": "ok"}
        assert http.post("/v1/completions", json=asked).status_code == 401
        wrong = http.post(
            "/v1/completions", json={**asked, "temperature": 3}, headers={**headers, "x-request-id": "mine"}
        )
        assert (wrong.status_code, wrong.headers.get_list("x-request-id")) == (400, ["mine"])
        assert wrong.json()["error"]["code"] == "invalid_value"
        assert http.post("/v1/completions", json={"prompt": "a" * 6000}, headers=headers).status_code == 413
        assert http.get("/v1/nothing", headers=headers).json()["error"]["code"] == "not_found"
        assert "<html" in http.get("/").text
        assert "/v1/responses" in http.get("/openapi.json").json()["paths"]

    # What begins alike goes to one replica, which computes it once.
    shared = "In the beginning there was a long and common text about many things. " * 10
    before = figures(server, "lutmac_prompt_tokens_total", **headers)
    assert len(before) == 2
    for i in range(6):
        client.completions.create(model="smollm2", prompt=f"{shared} {i}", max_tokens=2)
    after = figures(server, "lutmac_prompt_tokens_total", **headers)
    assert sorted(after[name] > before[name] for name in before) == [False, True]
    assert max(figures(server, "lutmac_prefix_hit_tokens_total", **headers).values()) > 5 * 100

    records = [json.loads(line) for line in server.lines if line.startswith("{")]
    assert all(record["status"] != 499 for record in records if record["event"] == "request")
    record = next(record for record in records if record.get("path") == "/v1/completions" and record["status"] == 200)
    assert (record["model"], record["completion_tokens"], record["finish_reason"]) == ("smollm2", 12, "length")
    assert 0 < record["first_token_seconds"] <= record["seconds"]
    assert server.stop(60) == 0
    wait_until(lambda: not named(REPLICA))


def test_replicas_come_and_go_with_the_load(serve_replicas: Any) -> None:
    server = serve_replicas(
        "--min-replicas", 1, "--max-replicas", 2, "--scale-at", 2, "--scale-up-after", 1, "--scale-down-after", 2
    )
    assert len(figures(server, "lutmac_requests_running")) == 1
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(stream, server, 30) for _ in range(8)]
        wait_until(lambda: len(figures(server, "lutmac_requests_running")) == 2)
        late = [pool.submit(complete, server) for _ in range(4)]
        assert {reply.result().status_code for reply in late} == {200}
        for reply in running:
            assert all(code_of(line) is None for line in reply.result())
    wait_until(lambda: len(figures(server, "lutmac_requests_running")) == 1)
    assert complete(server).status_code == 200


def test_a_killed_replica_ends_its_streams_with_an_event_and_nothing_else(serve_replicas: Any) -> None:
    server = serve_replicas("--replicas", 2)
    with ThreadPoolExecutor(12) as pool:
        streams = [submit(pool, stream, server, 20) for _ in range(4)]
        silent = [submit(pool, complete, server, **{**ENDLESS, "max_tokens": 300}) for _ in range(4)]
        wait_until(lambda: sorted(figures(server, "lutmac_requests_running").values()) == [4, 4])
        time.sleep(2)
        os.kill(named(REPLICA)[0], signal.SIGKILL)
        assert complete(server).status_code == 200  # at once, by the other one
        ends = [code_of(reply.result()[-1]) for reply in streams]
        assert set(ends) == {None, "replica_lost"}
        # Of these nothing had been said yet, so another replica answers them.
        assert {reply.result().status_code for reply in silent} == {200}
    wait_until(lambda: len(figures(server, "lutmac_requests_running")) == 2)  # it has been replaced


def test_work_ends_when_the_client_is_gone(serve_replicas: Any) -> None:
    server = serve_replicas("--replicas", 1)
    with server.client() as http, http.stream("POST", "/v1/completions", json={**ENDLESS, "stream": True}) as reply:
        lines = reply.iter_lines()  # kept: it would end the request with it
        next(lines)
        wait_until(lambda: sum(figures(server, "lutmac_requests_running").values()) == 1, 10)
    wait_until(lambda: sum(figures(server, "lutmac_requests_running").values()) == 0, 10)


def test_a_stream_that_the_end_of_the_server_cuts_off_says_so(serve_replicas: Any) -> None:
    server = serve_replicas("--replicas", 1, "--drain", 1)
    with server.client() as http, http.stream("POST", "/v1/completions", json={**ENDLESS, "stream": True}) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.process.terminate()
        assert code_of([line for line in lines if line][-1]) == "shutting_down"
    assert server.process.wait(60) == 0


def test_a_node_that_goes_takes_only_its_replies_with_it(cluster: Cluster, serve_replicas: Any) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    server = serve_replicas("--replicas", 3)
    with ThreadPoolExecutor(8) as pool:
        streams = [submit(pool, stream, server, 25) for _ in range(6)]
        wait_until(lambda: sorted(figures(server, "lutmac_requests_running").values()) == [2, 2, 2])
        time.sleep(2)
        cluster.remove_node(node, allow_graceful=False)
        assert [complete(server).status_code for _ in range(4)] == [200] * 4
        ends = [code_of(reply.result()[-1]) for reply in streams]
    assert sorted(map(str, ends)) == ["None"] * 4 + ["replica_lost"] * 2


def test_a_full_queue_refuses(serve_replicas: Any) -> None:
    server = serve_replicas("--replicas", 1, "--max-queue", 2)
    body = {"max_tokens": 60, "ignore_eos": True}
    with ThreadPoolExecutor(40) as pool:
        replies = list(pool.map(lambda _: complete(server, **body), range(40)))
    assert {reply.status_code for reply in replies} == {200, 429}
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
