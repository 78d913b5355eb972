"""llama.cpp's endpoints, as editors' plugins use them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

PROMPT = "The capital of France is"


def complete(http: httpx.Client, path: str = "/completion", **fields: Any) -> Any:
    reply = http.post(path, json={"temperature": 0, "n_predict": 6, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_a_completion(http: httpx.Client) -> None:
    found = complete(http, prompt=PROMPT, return_tokens=True)
    ours = http.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 6, "temperature": 0}).json()
    assert found["content"] == ours["choices"][0]["text"]
    assert (found["stop"], found["stop_type"], found["tokens_predicted"], len(found["tokens"])) == (True, "limit", 6, 6)
    assert found["prompt"] == PROMPT
    assert found["generation_settings"]["n_predict"] == 6
    assert found["timings"]["predicted_n"] == 6
    assert found["timings"]["prompt_n"] + found["timings"]["cache_n"] == found["tokens_evaluated"]


def test_it_says_why_it_stopped(http: httpx.Client) -> None:
    stopped = complete(http, prompt=PROMPT, stop=["Paris"])
    assert (stopped["stop_type"], stopped["stopping_word"]) == ("word", "Paris")
    assert "Paris" not in stopped["content"]


def test_a_stream_says_the_same_as_the_whole(http: httpx.Client) -> None:
    whole = complete(http, prompt=PROMPT)
    body = {"prompt": PROMPT, "n_predict": 6, "temperature": 0, "stream": True}
    found = events(http.post("/completion", json=body).text)
    assert "".join(event["content"] for event in found) == whole["content"]
    assert [event["stop"] for event in found] == [False] * (len(found) - 1) + [True]
    assert found[-1]["stop_type"] == "limit"
    assert [token for event in found[:-1] for token in event["tokens"]]


def test_the_prompts_that_it_takes(http: httpx.Client) -> None:
    ids = http.post("/tokenize", json={"content": PROMPT}).json()["tokens"]
    whole = complete(http, prompt=PROMPT)["content"]
    assert complete(http, prompt=ids)["content"] == whole
    assert complete(http, prompt=[*ids[:3], http.post("/detokenize", json={"tokens": ids[3:]}).json()["content"]])
    several = complete(http, prompt=[PROMPT, ids])
    assert [item["content"] for item in several] == [whole, whole]
    assert [item["index"] for item in several] == [0, 1]


def test_what_clients_send_beside(http: httpx.Client) -> None:
    never = complete(http, prompt=PROMPT, logit_bias=[[7042, False]], seed=-1, temperature=-1, cache_prompt=True)
    assert never["stop"]
    biased = complete(http, prompt=PROMPT, n_probs=2)
    assert len(biased["completion_probabilities"]) == 6
    assert {"id", "token", "bytes", "logprob", "top_logprobs"} == biased["completion_probabilities"][0].keys()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert json.loads(complete(http, prompt=PROMPT, n_predict=40, json_schema=schema)["content"])["a"] is not None
    assert complete(http, prompt=PROMPT, grammar='root ::= "yes" | "no"')["content"] in ("yes", "no")
    assert complete(http, prompt=PROMPT, n_predict=0)["content"] == ""


def test_only_the_fields_that_are_wanted(http: httpx.Client) -> None:
    fields = ["content", "timings/predicted_n", "generation_settings/n_predict", "no/such"]
    found = complete(http, prompt=PROMPT, response_fields=fields)
    assert found.keys() == {"content", "timings/predicted_n", "generation_settings/n_predict"}


def test_a_time_limit_ends_it_behind_a_line(http: httpx.Client) -> None:
    body = {"prompt": "1\n2\n3\n4\n", "n_predict": 400, "ignore_eos": True, "t_max_predict_ms": 1}
    found = complete(http, **body)
    assert "\n" in found["content"]
    assert found["tokens_predicted"] < 400
    assert found["stop_type"] == "limit"


def test_progress_of_a_prompt(http: httpx.Client) -> None:
    ids = [1000 + i for i in range(700)]
    body = {"prompt": ids, "n_predict": 1, "stream": True, "return_progress": True}
    found = [event["prompt_progress"] for event in events(http.post("/completion", json=body).text)
             if "prompt_progress" in event]  # fmt: skip
    assert [item["processed"] for item in found] == sorted({item["processed"] for item in found})
    assert found[-1]["processed"] == found[-1]["total"] == 700
    assert len(found) > 2
    again = [event["prompt_progress"] for event in events(http.post("/completion", json=body).text)
             if "prompt_progress" in event]  # fmt: skip
    assert again[0]["cache"] > 600


def test_infill_needs_a_model_that_knows_how(http: httpx.Client) -> None:
    reply = http.post("/infill", json={"input_prefix": "def a():\n", "input_suffix": "\n"})
    assert reply.status_code == 400
    assert "fill in the middle" in reply.json()["error"]["message"]


def test_what_the_server_says_of_itself(http: httpx.Client) -> None:
    props = http.get("/props").json()
    assert props["default_generation_settings"]["n_ctx"] == 8192
    assert props["default_generation_settings"]["params"]["temperature"] == pytest.approx(0.8)
    assert "<|im_start|>" in props["chat_template"]
    assert "/" not in props["model_path"]
    slots = http.get("/slots").json()
    assert len(slots) == props["total_slots"]
    assert {slot["is_processing"] for slot in slots} <= {True, False}


def test_tokens_and_templates(http: httpx.Client) -> None:
    pieces = http.post("/tokenize", json={"content": "Hi 日", "with_pieces": True}).json()["tokens"]
    data = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces)
    assert data.decode() == "Hi 日"
    prompt = http.post("/apply-template", json={"messages": [{"role": "user", "content": "Hi!"}]}).json()["prompt"]
    assert "<|im_start|>user\nHi!<|im_end|>" in prompt
