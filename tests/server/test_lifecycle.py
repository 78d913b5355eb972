"""Clients that go, dawdle or never read, more of them than fit, and the end of the server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from lutmac.cli.main import run_command
from serving import Served

ENDLESS = {"prompt": "a", "max_tokens": 100_000, "ignore_eos": True, "temperature": 0}


def connect(server: Served) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname, place.port), timeout=30)


def post(body: dict[str, Any], extra: str = "") -> bytes:
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def figure(server: Served, name: str) -> float:
    with server.client() as http:
        lines = http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])


def wait_until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


@pytest.mark.parametrize("stream", [False, True])
def test_work_ends_when_the_client_is_gone(served: Served, stream: bool) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(post({**ENDLESS, "n": 2, "stream": stream}))
        wait_until(lambda: figure(served, "lutmac_requests_running") == 2)
    wait_until(lambda: figure(served, "lutmac_requests_running") == 0)


def test_requests_that_find_the_queue_full_are_told_when_to_come_back(serve: Any) -> None:
    server = serve("--max-queue", 2)
    with server.client() as http, ThreadPoolExecutor(40) as pool:
        body = {"prompt": "a", "max_tokens": 100, "ignore_eos": True}
        replies = list(pool.map(lambda _: http.post("/v1/completions", json=body), range(40)))
    statuses = [reply.status_code for reply in replies]
    assert set(statuses) == {200, 429}
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    done = [reply.json()["usage"]["completion_tokens"] for reply in replies if reply.status_code == 200]
    assert set(done) == {100}


def test_running_streams_finish_and_nothing_new_starts_when_the_server_is_told_to_stop(serve_real: Any) -> None:
    server = serve_real()
    with server.client() as http, server.client() as other:
        body = {"prompt": "a", "max_tokens": 150, "ignore_eos": True, "stream": True}
        with http.stream("POST", "/v1/completions", json=body) as reply:
            lines = reply.iter_lines()
            next(lines)
            began = time.monotonic()
            server.process.terminate()
            wait_until(lambda: other.get("/health/ready").status_code == 503)
            for refused in (other.get("/health/ready"), other.get("/v1/models"), httpx.get(f"{server.url}/v1/models")):
                assert refused.status_code == 503
                assert int(refused.headers["retry-after"]) >= 1
            assert httpx.get(f"{server.url}/health/live").status_code == 200
            rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(20) == 0
    assert not any(word in line for word in ("Traceback", "traceback", "leaked") for line in server.lines)
    assert time.monotonic() - began < 10
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")


def test_the_process_ends_though_a_call_keeps_the_interpreter() -> None:
    program = """
import os, signal
from lutmac import _native
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
_native.end_after_signal([signal.SIGTERM], 1)
os.kill(os.getpid(), signal.SIGTERM)
print("going on", flush=True)
sum(range(10**13))  # one call in C: no other thread and no handler in Python runs until it is done
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout.split("\n")[:2] == ["handled", "going on"]
    assert "did not end in time" in done.stderr


def test_more_replies_than_the_queue_ever_holds_are_a_mistake(serve: Any) -> None:
    server = serve("--max-queue", 2)
    with server.client() as http:
        reply = http.post("/v1/completions", json={"prompt": ["a"] * 10, "n": 2})
    assert reply.status_code == 400
    assert "at most 18" in reply.json()["error"]["message"]


@pytest.mark.slow
def test_streams_that_do_not_finish_in_time_are_told(serve_real: Any) -> None:
    server = serve_real("--drain", 0.5)
    with server.client() as http, http.stream("POST", "/v1/completions", json={**ENDLESS, "stream": True}) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.process.terminate()
        last = [line for line in lines if line][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert server.process.wait(20) == 0


def test_a_client_that_never_reads_is_dropped_and_its_slot_is_free(serve_real: Any) -> None:
    server = serve_real("--send-timeout", 1)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        place = urlsplit(server.url)
        connection.connect((place.hostname, place.port))
        connection.sendall(post({**ENDLESS, "stream": True, "logprobs": 5}))
        wait_until(lambda: figure(server, "lutmac_requests_running") == 1)
        wait_until(lambda: figure(server, "lutmac_requests_running") == 0)
        with server.client() as http:
            assert http.post("/v1/completions", json={"prompt": "a", "max_tokens": 2}).status_code == 200
    wait_until(lambda: any('"client_gone"' in line for line in server.lines))
    gone = json.loads(next(line for line in server.lines if '"client_gone"' in line))
    assert gone["completion_tokens"] > 0  # what was made for nobody


def test_slow_senders_do_not_hold_the_server_up(served: Served) -> None:
    with closing(connect(served)) as slow_head, closing(connect(served)) as slow_body:
        slow_head.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: loc")
        slow_body.sendall(post(ENDLESS)[:-5])
        with served.client() as http:
            assert http.post("/v1/completions", json={"prompt": "a", "max_tokens": 2}).status_code == 200


def test_garbage_and_endless_heads_are_cut_off(served: Served) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(b"\x16\x03\x01\x00\xf1 this is no HTTP\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    head = b"GET / HTTP/1.1\r\n" + b"".join(b"X-Filler-%d: %s\r\n" % (i, b"x" * 1000) for i in range(10_000))
    with closing(connect(served)) as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        connection.sendall(head)


def test_pipelined_requests_are_answered_in_turn(served: Served) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(post({"prompt": "a", "max_tokens": 1}) + post({"prompt": "b", "max_tokens": 1}))
        text = b""
        while text.count(b"text_completion") < 2:
            text += connection.recv(10000)
    assert text.count(b"HTTP/1.1 200") == 2


def test_mistakes_on_the_command_line_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    for arguments, said in (
        (("--host", "0.0.0.0"), "--api-key-file"),
        (("--port", str(port)), "cannot listen"),
        (("--api-key-file", str(tmp_path / "none")), "cannot be read"),
        (("--kv-cache-memory", "lots"), "as in 4G"),
        (("no-such-model.gguf",), "no such file"),
    ):
        assert run_command(["serve", *arguments]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
