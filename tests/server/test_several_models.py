"""Several models behind one address, as OpenAI's and Ollama's clients see them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

import lutmac
from lutmac.cli.main import run_command
from lutmac.engine.forecast import forecast
from serving import Served, start
from tiny_llama import make_tiny_llama

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints" / "huggingface"
FIRST, SECOND = CHECKPOINTS / "bf16", CHECKPOINTS / "awq"
HI = [{"role": "user", "content": "Say hi."}]
Start = Callable[..., Served]


@pytest.fixture(scope="module")
def both() -> Iterator[Served]:
    """Two models of random weights, of which a client calls the second gpt-4."""
    server = start(FIRST, SECOND, "--name", "gpt-4=awq", "--threads", 2)
    yield server
    assert server.process.poll() is None, "".join(server.lines[-30:])
    server.process.kill()


@pytest.fixture
def begin() -> Iterator[Start]:
    """Starts servers, which end with the test."""
    servers: list[Served] = []

    def run(*arguments: object) -> Served:
        servers.append(start(*arguments, "--threads", 2))
        return servers[-1]

    yield run
    for server in servers:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def client(both: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{both.url}/v1", api_key="none", max_retries=0)


def states(server: Served) -> dict[str, str]:
    with server.client() as http:
        return {model["name"]: model["value"] for model in http.get("/health").json()["models"]}


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def said(path: Path) -> str:
    """What a model answers, asked without a server."""
    with lutmac.load(path, threads=1) as model:
        return model.chat(HI, max_tokens=8, temperature=0).text


def ask(server: Served, model: str | None, **more: Any) -> httpx.Response:
    with server.client() as http:
        named = {} if model is None else {"model": model}
        return http.post("/v1/chat/completions", json={**named, "messages": HI, "max_tokens": 4, **more})


def test_each_answers_by_its_name_through_openais_client(client: openai.OpenAI) -> None:
    for name, path, listed in (("bf16", FIRST, "bf16"), ("awq", SECOND, "awq"), ("gpt-4", SECOND, "awq")):
        reply = client.chat.completions.create(model=name, messages=HI, max_tokens=8, temperature=0)  # type: ignore[arg-type]
        assert reply.choices[0].message.content == said(path)
        assert reply.model == listed
    stream = client.chat.completions.create(model="awq", messages=HI, max_tokens=8, temperature=0, stream=True)  # type: ignore[arg-type]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == said(SECOND)
    assert [model.id for model in client.models.list()] == ["bf16", "awq", "gpt-4"]
    with pytest.raises(openai.NotFoundError, match="this server has bf16, awq, gpt-4"):
        client.chat.completions.create(model="another", messages=HI)  # type: ignore[arg-type]


def test_each_answers_through_ollamas_client(both: Served) -> None:
    client, options = ollama.Client(host=both.url), {"temperature": 0, "num_predict": 8}
    for name, path in (("bf16", FIRST), ("awq:latest", SECOND)):
        assert client.chat(name, HI, options=options).message.content == said(path)
    assert [model.model for model in client.list().models] == ["bf16", "awq", "gpt-4"]
    running = client.ps().models
    assert {model.model for model in running} == {"bf16", "awq", "gpt-4"}
    assert all(model.expires_at is not None and model.expires_at.timestamp() - time.time() < 301 for model in running)
    assert client.embed("awq", "A cat").embeddings != client.embed("bf16", "A cat").embeddings
    with pytest.raises(ollama.ResponseError, match="does not exist"):
        client.generate("another", "Hi")


def test_every_endpoint_goes_to_the_model_that_is_named(both: Served) -> None:
    """Their vocabularies are alike, so that a text says who wrote it, or a name in the answer does."""
    with both.client() as http:
        for name, path in (("bf16", FIRST), ("awq", SECOND)):
            greedy = {"model": name, "temperature": 0, "max_tokens": 8}
            with lutmac.load(path, threads=1) as model:
                text = model.generate("A", max_tokens=8, temperature=0).text
            assert http.post("/v1/completions", json={**greedy, "prompt": "A"}).json()["choices"][0]["text"] == text
            found = http.post("/completion", json={"model": name, "prompt": "A", "n_predict": 8, "temperature": 0})
            assert (found.json()["content"], found.json()["model"]) == (text, name)
            found = http.post("/v1/messages", json={**greedy, "messages": HI})
            assert (found.json()["content"][0]["text"], found.json()["model"]) == (said(path), name)
            found = http.post("/v1/responses", json={"model": name, "input": "Say hi.", "temperature": 0,
                                                     "max_output_tokens": 8})  # fmt: skip
            assert found.json()["model"] == name
            assert http.post("/v1/embeddings", json={"model": name, "input": "A"}).json()["model"] == name
            assert http.post("/tokenize", json={"model": name, "prompt": "A"}).status_code == 200
            counted = http.post("/v1/messages/count_tokens", json={"model": name, "messages": HI})
            assert counted.status_code == 200
            assert http.get("/props", params={"model": name}).json()["model_alias"] == name
            assert http.get("/slots", params={"model": name}).status_code == 200
            assert http.get("/tokenizer_info", params={"model": name}).status_code == 200
            assert http.get(f"/v1/models/{name}").json()["status"] == {"value": "loaded"}
        for path_, body in (("/tokenize", {"prompt": "A"}), ("/completion", {"prompt": "A"}),
                            ("/v1/embeddings", {"input": "A"}), ("/v1/responses", {"input": "A"}),
                            ("/api/show", {}), ("/v1/messages", {"messages": HI, "max_tokens": 1})):  # fmt: skip
            assert http.post(path_, json={**body, "model": "another"}).status_code == 404, path_
        assert http.get("/props", params={"model": "another"}).status_code == 404
        assert http.post("/v1/chat/completions", json={"messages": HI, "max_tokens": 1}).json()["model"] == "bf16"


def test_a_batch_goes_to_the_models_that_its_lines_name(both: Served, client: openai.OpenAI) -> None:
    lines = [
        f'{{"custom_id": "{name}", "method": "POST", "url": "/v1/completions", '
        f'"body": {{"model": "{name}", "prompt": "A", "max_tokens": 2}}}}'
        for name in ("awq", "bf16", "another")
    ]
    file = client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
    wait_for(lambda: client.batches.retrieve(batch.id).status == "completed")
    batch = client.batches.retrieve(batch.id)
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 1)


def test_figures_are_told_apart_by_model(both: Served) -> None:
    ask(both, "awq")
    ask(both, "bf16")
    with both.client() as http:
        lines = http.get("/metrics").text.splitlines()
    for name in ("awq", "bf16"):
        assert f'lutmac_model_loaded{{model="{name}"}} 1.0' in lines
        (generated,) = [line for line in lines if line.startswith(f'lutmac_generated_tokens_total{{model="{name}"}}')]
        assert float(generated.split()[-1]) >= 4
        assert any(line.startswith(f'lutmac_time_to_first_token_seconds_count{{model="{name}"}}') for line in lines)


def test_llama_cpps_load_and_unload(begin: Start) -> None:
    server = begin(FIRST, SECOND)
    assert states(server) == {"bf16": "unloaded", "awq": "unloaded"}
    with server.client() as http:
        entry = http.get("/models").json()["data"][1]
        assert (entry["status"], entry["architecture"], "isa" in entry) == ({"value": "unloaded"}, "llama", False)
        assert http.post("/models/unload", json={"model": "awq"}).status_code == 400
        assert http.post("/models/load", json={"model": "another"}).status_code == 404
        assert http.post("/models/load", json={"model": "awq"}).json() == {"success": True}
        wait_for(lambda: states(server)["awq"] == "loaded")
        assert http.post("/models/load", json={"model": "awq"}).status_code == 400
        assert http.get("/models").json()["data"][1]["status"] == {"value": "loaded"}
        assert http.post("/models/unload", json={"model": "awq"}).json() == {"success": True}
        wait_for(lambda: states(server)["awq"] == "unloaded")
    with ThreadPoolExecutor(8) as pool:  # it comes again when it is named, once for all
        assert list(pool.map(lambda _: ask(server, "awq").status_code, range(8))) == [200] * 8
    with server.client() as http:
        assert 'lutmac_model_loads_total{model="awq"} 2.0' in http.get("/metrics").text


def test_ollamas_keep_alive(begin: Start) -> None:
    server = begin(FIRST, SECOND, "--keep-alive", "0.3s")
    client = ollama.Client(host=server.url)
    client.generate("bf16", "A", options={"num_predict": 1}, keep_alive=-1)
    client.generate("awq", "A", options={"num_predict": 1})
    wait_for(lambda: states(server) == {"bf16": "loaded", "awq": "unloaded"})
    (running,) = client.ps().models
    assert running.expires_at is not None
    assert running.expires_at.year > 2300
    assert client.generate("bf16", "", keep_alive=0).done_reason == "unload"
    wait_for(lambda: states(server)["bf16"] == "unloaded")
    assert client.generate("awq", "", keep_alive="10m").done_reason == "load"
    assert states(server)["awq"] == "loaded"
    with pytest.raises(ollama.ResponseError, match="keep_alive"):
        client.generate("awq", "A", keep_alive="soon")


def test_waiting_is_bounded_and_who_has_no_key_hears_nothing_of_the_models(begin: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    server = begin(FIRST, SECOND, "--api-key-file", tmp_path / "keys", "--max-queue", 0)
    with server.client() as http:
        assert http.get("/health").json() == {"status": "ok"}
    with server.client(headers={"X-Api-Key": "0123456789abcdef"}) as http, ThreadPoolExecutor(40) as pool:
        assert [model["name"] for model in http.get("/health").json()["models"]] == ["bf16", "awq"]
        body = {"model": "awq", "messages": HI, "max_tokens": 4}
        found = list(pool.map(lambda _: http.post("/v1/chat/completions", json=body).status_code, range(40)))
    assert set(found) == {200, 429}
    assert found.count(200) >= 16  # as many as run


def test_one_makes_room_for_another_and_waits_for_what_is_answered(begin: Start) -> None:
    room = max(forecast(path).model_bytes + forecast(path).cache_least for path in (FIRST, SECOND))
    server = begin(FIRST, SECOND, "--memory", int(1.5 * room))
    with server.client() as http, http.stream("POST", "/v1/completions", json={
        "model": "bf16", "prompt": "A", "max_tokens": 100, "ignore_eos": True, "stream": True,
    }) as stream, ThreadPoolExecutor(1) as pool:  # fmt: skip
        lines = stream.iter_lines()
        next(lines)
        other = pool.submit(ask, server, "awq")
        rest = list(lines)
        assert rest[-2 if rest[-1] == "" else -1] == "data: [DONE]"
        assert other.result().status_code == 200
    assert states(server) == {"bf16": "unloaded", "awq": "loaded"}
    with ThreadPoolExecutor(8) as pool:  # in turns, and nobody is lost
        found = list(pool.map(lambda place: ask(server, ("bf16", "awq")[place % 2]).status_code, range(24)))
    assert found == [200] * 24


def test_a_model_that_cannot_fit_says_what_it_needs_and_what_there_is(begin: Start) -> None:
    server = begin(FIRST, SECOND, "--memory", "20M")
    reply = ask(server, "awq")
    assert reply.status_code == 507
    assert reply.json()["error"]["code"] == "insufficient_memory"
    assert "the model awq needs 3" in reply.json()["error"]["message"]
    assert "this server has 21 MB" in reply.json()["error"]["message"]


def test_a_directory_is_looked_into_again_and_broken_files_say_so(begin: Start, tmp_path: Path) -> None:
    shutil.copytree(FIRST, tmp_path / "first")
    server = begin("--models", tmp_path)
    assert states(server) == {"first": "unloaded"}
    make_tiny_llama(tmp_path / "later.gguf", "Q4_0")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    wait_for(lambda: list(states(server)) == ["broken", "first", "later"])
    with server.client() as http:
        assert http.post("/v1/completions", json={"model": "later", "prompt": "A", "max_tokens": 1}).status_code == 200
        reply = http.post("/v1/completions", json={"model": "broken", "prompt": "A"})
        assert reply.status_code == 500
        assert reply.json()["error"]["code"] == "model_load_failed"
        assert str(tmp_path) not in reply.text
        entries = {entry["id"]: entry["status"] for entry in http.get("/v1/models").json()["data"]}
        assert entries["broken"]["failed"]
        assert entries["later"] == {"value": "loaded"}
        assert [model["name"] for model in http.get("/api/tags").json()["models"]] == ["first", "later"]
        (tmp_path / "broken.gguf").unlink()
        wait_for(lambda: list(states(server)) == ["first", "later"])
        assert http.post("/v1/completions", json={"model": "broken", "prompt": "A"}).status_code == 404
        make_tiny_llama(tmp_path / "new", "Q8_0")
        (tmp_path / "new").replace(tmp_path / "later.gguf")  # another file of the same name is another model
        assert http.post("/v1/completions", json={"model": "later", "prompt": "A", "max_tokens": 1}).status_code == 200
        assert 'lutmac_model_loads_total{model="later"} 2.0' in http.get("/metrics").text


def test_clients_that_go_while_their_model_loads_are_dropped_and_the_server_ends(begin: Start) -> None:
    server = begin(FIRST, SECOND, "--drain", 0.2)
    with server.client() as http:
        for timeout in (0.001, 0.01, 0.02, 0.05):
            with pytest.raises(httpx.TimeoutException):
                http.post("/v1/chat/completions", json={"model": "awq", "messages": HI, "max_tokens": 400,
                                                        "ignore_eos": True}, timeout=timeout)  # fmt: skip
    assert ask(server, "awq").status_code == 200

    def is_idle() -> bool:
        with server.client() as http:
            return 'lutmac_requests_running{model="awq"} 0.0' in http.get("/metrics").text

    wait_for(is_idle)
    with server.client() as http, http.stream("POST", "/v1/completions", json={
        "model": "awq", "prompt": "A", "max_tokens": 450, "ignore_eos": True, "stream": True,
    }) as stream:  # fmt: skip
        next(stream.iter_lines())
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bf16", "awq", "--ray"], "--ray serves one model for now"),
        (["bf16", "--keep-alive", "5m"], "--keep-alive goes with several models"),
        (["bf16", "--memory", "5G"], "--memory goes with several models"),
        (["bf16", "awq", "--keep-alive", "soon"], "--keep-alive is 'soon'"),
        (["bf16", "awq", "--name", "gpt-4"], "ALIAS=MODEL"),
        (["bf16", "awq", "--name", "gpt-4=gpt-5"], "gpt-5 is none of bf16, awq"),
        (["bf16", "awq", "--name", "awq=bf16"], "awq is the name of a model"),
        (["bf16", "bf16"], "two models are called bf16"),
        (["bf16", "awq", "--context", "1"], "context is 1"),
        (["bf16", "nothing.gguf"], "nothing.gguf: no such file"),
        (["--models", "nowhere"], "no such directory"),
    ],
)
def test_mistakes_on_the_command_line_are_told_at_once(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKPOINTS)
    if "--ray" in arguments:
        pytest.importorskip("ray")
    assert run_command(["serve", *arguments, "--port", "0"]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def resident_bytes(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_given_back(begin: Start, smollm2_path: Path, qwen_coder_path: Path) -> None:
    server = begin(smollm2_path, qwen_coder_path)
    names = list(states(server))

    def cycle() -> None:
        with server.client() as http:
            for name in names:
                assert ask(server, name).status_code == 200
            for name in names:
                http.post("/models/unload", json={"model": name})
        wait_for(lambda: set(states(server).values()) == {"unloaded"})
        time.sleep(0.2)

    cycle()
    before = resident_bytes(server.process)
    assert before < 250e6
    for _ in range(4):
        cycle()
    assert resident_bytes(server.process) < before + 30e6
