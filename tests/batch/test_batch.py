"""`lutmac batch`: every line is answered once, whatever is in it and whatever happens on the way."""

from __future__ import annotations

import codecs
import fcntl
import json
import subprocess
import time
from pathlib import Path

import pytest

import lutmac
from batches import COMMAND, completion, entries, run, write_lines
from tiny_llama import TinyLlama


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_replies_are_those_of_the_model_in_openais_format(
    tiny: TinyLlama, tiny_model: lutmac.Model, source: Path, destination: Path
) -> None:
    prompts = {f"request {i}": "ab" * i for i in range(1, 21)}
    write_lines(source, [completion(name, prompt=prompt) for name, prompt in prompts.items()])
    code, said = run(source, destination, "--model", tiny.path)
    assert (code, said) == (0, f"{destination}: 20 answered, 0 refused\n")
    found = {entry["custom_id"]: entry for entry in entries(destination)}
    assert found.keys() == prompts.keys()
    assert len({entry["id"] for entry in found.values()}) == 20
    for name, prompt in prompts.items():
        assert found[name].keys() == {"id", "custom_id", "response", "error"}
        response = found[name]["response"]
        assert (response["status_code"], found[name]["error"]) == (200, None)
        assert response["request_id"]
        expected = tiny_model.generate(prompt, max_tokens=6, ignore_eos=True, temperature=0)
        assert response["body"]["choices"][0]["text"] == expected.text
        assert response["body"]["usage"]["completion_tokens"] == 6


def test_every_endpoint_can_be_asked_and_refuses_as_over_http(
    smollm2_path: Path, source: Path, destination: Path
) -> None:
    hello = {"messages": [{"role": "user", "content": "Hello"}], "model": "smollm2", "max_tokens": 4}
    bodies = {
        "/v1/chat/completions": hello,
        "/v1/completions": {"model": "smollm2", "prompt": "Hello", "max_tokens": 4},
        "/v1/responses": {"model": "smollm2", "input": "Hello", "max_output_tokens": 16},
        "/v1/embeddings": {"model": "smollm2", "input": "Hello"},
        "/v1/messages": hello,
    }
    lines = [{"custom_id": url, "method": "POST", "url": url, "body": body} for url, body in bodies.items()]
    odd = [completion("another model"), completion("too warm", model="smollm2", temperature=3)]
    write_lines(source, [*lines, *odd])
    assert run(source, destination, "--model", smollm2_path, "--name", "smollm2")[0] == 0
    found = {entry["custom_id"]: entry["response"] for entry in entries(destination)}
    assert {url: found[url]["status_code"] for url in bodies} == dict.fromkeys(bodies, 200)
    assert found["another model"]["status_code"] == 200
    assert found["too warm"]["status_code"] == 400
    assert "temperature" in found["too warm"]["body"]["error"]["message"]


def test_byte_order_marks_are_no_part_of_a_batch(tiny: TinyLlama, source: Path, destination: Path) -> None:
    """Editors of Windows write one at the beginning; where files are joined, one stands on a later line."""
    lines = [json.dumps(completion(name)).encode() for name in ("first", "second")]
    source.write_bytes(codecs.BOM_UTF8 + lines[0] + b"\r\n" + codecs.BOM_UTF8 + lines[1] + b"\r\n" + codecs.BOM_UTF8)
    code, said = run(source, destination, "--model", tiny.path)
    assert (code, said) == (0, f"{destination}: 2 answered, 0 refused\n")
    assert sorted(entry["custom_id"] for entry in entries(destination)) == ["first", "second"]


def test_lines_that_cannot_be_run_are_answered_by_an_error_that_names_them(
    tiny: TinyLlama, source: Path, destination: Path
) -> None:
    good = completion("good")
    bad = {
        "invalid_json_line": ["{", "[1]", '{"custom_id": "x", "custom_id": "y"}', "[" * 5000, "\x00\x01"],
        "missing_custom_id": [{**good, "custom_id": 3}, {**good, "custom_id": ""}],
        "duplicate_custom_id": [good],
        "invalid_method": [{**good, "custom_id": "get", "method": "GET"}],
        "invalid_url": [{**good, "custom_id": "url", "url": "/v1/files"}, {**good, "custom_id": "urls", "url": [1]}],
        "invalid_body": [{**good, "custom_id": "body", "body": "text"}],
        "stream_unsupported": [completion("stream", stream=True)],
    }
    write_lines(source, [good, "", *(line for lines in bad.values() for line in lines)])
    for _ in range(2):  # the second time nothing is new
        assert run(source, destination, "--model", tiny.path)[0] == 0
        found = entries(destination)
        refused = [entry for entry in found if entry["error"] is not None]
        assert len(found) - len(refused) == 1
        for code, lines in bad.items():
            assert sum(entry["error"]["code"] == code for entry in refused) == len(lines)
        assert all(entry["response"] is None for entry in refused)
        assert sorted(int(entry["error"]["message"].split()[1].rstrip(":")) for entry in refused) == [*range(3, 16)]


def test_a_killed_batch_goes_on_and_neither_loses_nor_repeats_a_line(
    tiny: TinyLlama, source: Path, destination: Path
) -> None:
    names = [f"request {i}" for i in range(150)]
    write_lines(source, [completion(name, max_tokens=60) for name in names] + [completion("request 0")])
    kept: list[str] = []
    for share in (0.2, 0.6):
        process = subprocess.Popen([*COMMAND, source, destination, "--model", tiny.path], stderr=subprocess.DEVNULL)
        while process.poll() is None and len(kept) < share * len(names):
            time.sleep(0.02)
            kept = destination.read_text().splitlines() if destination.exists() else []
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait()
        kept = [line for line in destination.read_text().splitlines(keepends=True) if line.endswith("\n")]
        with destination.open("a") as file:
            file.write('{"id": "batch_req_half of a li')  # what a crash of the machine can leave
    assert run(source, destination, "--model", tiny.path)[0] == 0
    assert destination.read_text().startswith("".join(kept))
    found = entries(destination)
    assert sorted(entry["custom_id"] for entry in found if entry["error"] is None) == sorted(names)
    assert [entry["error"]["code"] for entry in found if entry["error"]] == ["duplicate_custom_id"]
    assert len({entry["id"] for entry in found}) == len(found) == len(names) + 1


def test_lines_added_later_are_all_that_runs(tiny: TinyLlama, source: Path, destination: Path) -> None:
    write_lines(source, [completion("first")])
    run(source, destination, "--model", tiny.path)
    before = destination.read_text()
    write_lines(source, [completion("zeroth"), completion("first"), completion("second")])
    assert "2 answered, 0 refused, 1 earlier" in run(source, destination, "--model", tiny.path)[1]
    assert destination.read_text().startswith(before)
    assert {entry["custom_id"] for entry in entries(destination)} == {"zeroth", "first", "second"}


def test_mistakes_are_one_line(tiny: TinyLlama, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [completion("a")])
    other = tmp_path / "other.jsonl"
    other.write_text('{"important": "data"}\n')
    busy = tmp_path / "busy.jsonl"
    with busy.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for arguments, said in (
            ((tmp_path / "none", tmp_path / "out"), "cannot read the batch"),
            ((tmp_path, tmp_path / "out"), "cannot read the batch"),
            ((source, source), "cannot go into the file of the requests"),
            ((source, tmp_path / "no" / "out"), "cannot write the replies"),
            ((source, other), "line 1 is not from a batch"),
            ((source, busy), "another `lutmac batch`"),
            ((source, tmp_path / "out", "--model", "no-such-model"), "no-such-model"),
        ):
            model = () if "--model" in arguments else ("--model", tiny.path)
            code, told = run(*arguments, *model)
            assert code == 2
            assert said in told
            assert told.count("\n") == 1
    assert json.loads(other.read_text()) == {"important": "data"}
