"""/v1/completions as evaluation harnesses and editors use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import lutmac
from serving import Served

PATH = "/v1/completions"
PROMPT = "The capital of France is Paris"


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> lutmac.Model:
    return lutmac.load(smollm2_path)


def ask(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    reply = http.post(PATH, json={"temperature": 0, **fields})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def expected_logprobs(model: lutmac.Model, ids: list[int]) -> np.ndarray:
    logits = model.logits(ids).astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("max_tokens", [0, 1])
@pytest.mark.parametrize("as_ids", [True, False])
def test_log_likelihoods_are_those_of_the_model(
    http: httpx.Client, model: lutmac.Model, max_tokens: int, as_ids: bool
) -> None:
    """What lm-eval's local-completions sends for every loglikelihood task, and how it reads the answer."""
    ids = model.tokenizer.encode(PROMPT)
    found = ask(http, prompt=ids if as_ids else PROMPT, echo=True, logprobs=1, max_tokens=max_tokens, seed=1234)
    choice, logprobs = found["choices"][0], found["choices"][0]["logprobs"]
    assert choice["text"].startswith(PROMPT)
    assert {len(entries) for entries in logprobs.values()} == {len(ids) + max_tokens}
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    expected = expected_logprobs(model, ids)
    for place in range(1, len(ids)):
        assert logprobs["token_logprobs"][place] == pytest.approx(expected[place - 1][ids[place]], abs=1e-3)
        (best,) = logprobs["top_logprobs"][place].values()
        assert best == pytest.approx(expected[place - 1].max(), abs=1e-3)
        is_greedy = logprobs["token_logprobs"][place] == best
        assert is_greedy == (expected[place - 1].argmax() == ids[place])
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert found["usage"]["completion_tokens"] == max_tokens


def test_many_prompts_and_a_stream_say_the_same(http: httpx.Client, model: lutmac.Model) -> None:
    asked = {"prompt": [model.tokenizer.encode(text) for text in (PROMPT, "Two and two are")], "echo": True,
             "logprobs": 1, "max_tokens": 2}  # fmt: skip
    whole = ask(http, **asked)
    alone = ask(http, **{**asked, "prompt": asked["prompt"][1]})
    assert whole["choices"][1]["logprobs"] == alone["choices"][0]["logprobs"]
    lines = http.post(PATH, json={"temperature": 0, **asked, "stream": True}).text.splitlines()
    events = [httpx.Response(200, text=line[6:]).json() for line in lines if line.startswith("data: {")]
    for index, choice in enumerate(whole["choices"]):
        parts = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert "".join(part["text"] for part in parts) == choice["text"]
        for name, entries in choice["logprobs"].items():
            assert [item for part in parts for item in part["logprobs"][name]] == entries


def test_an_end_token_is_counted_where_texts_are_scored(http: httpx.Client, model: lutmac.Model) -> None:
    """One entry for each token drawn, as lm-eval counts on: it cuts the last one off."""
    end = next(iter(model.tokenizer.end_of_generation))
    bias = {str(end): 100}
    found = ask(http, prompt=PROMPT, echo=True, logprobs=1, max_tokens=1, logit_bias=bias)["choices"][0]
    assert found["text"] == PROMPT
    assert len(found["logprobs"]["tokens"]) == len(model.tokenizer.encode(PROMPT)) + 1


def test_no_tokens_at_all(http: httpx.Client) -> None:
    found = ask(http, prompt=PROMPT, max_tokens=0)
    assert (found["choices"][0]["text"], found["choices"][0]["finish_reason"]) == ("", "length")
    assert ask(http, prompt=PROMPT, max_tokens=0, echo=True)["choices"][0]["text"] == PROMPT
    assert http.post("/v1/chat/completions", json={"messages": [], "max_tokens": 0}).status_code == 400


def test_too_many_entries_are_refused(http: httpx.Client) -> None:
    asked = {"prompt": [[1] * 8000] * 12, "echo": True, "logprobs": 20, "max_tokens": 0}
    reply = http.post(PATH, json=asked)
    assert reply.status_code == 400
    assert "log probabilities" in reply.json()["error"]["message"]


def test_a_model_without_marks_cannot_fill_in(http: httpx.Client) -> None:
    reply = http.post(PATH, json={"prompt": "def a():\n", "suffix": "\nprint(a())"})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "suffix"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 9000}]}, "messages"),
        ("/v1/completions", {"prompt": "word " * 9000}, "prompt"),
        ("/v1/responses", {"input": "word " * 9000}, "input"),
    ],
)
def test_an_overflow_is_told_in_the_words_that_clients_know(
    http: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    """litellm's and langchain's: they search the message."""
    reply = http.post(path, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", param)
    assert "this model's maximum context length is 8192 tokens" in error["message"]
    assert "prompt is too long" in error["message"]


def test_an_overflow_on_anthropics_path(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 9000}], "max_tokens": 4}
    error = http.post("/v1/messages", json=body).json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("prompt is too long: 9031 tokens > 8192 maximum")


def test_an_overflow_names_the_way_out(serve_real: Any) -> None:
    server: Served = serve_real("--context", "512")
    with server.client() as http:
        body = {"messages": [{"role": "user", "content": "word " * 600}]}
        message = http.post("/v1/chat/completions", json=body).json()["error"]["message"]
    assert "start with `--context 2048` (about 35 MB more)" in message


def mean_logprob(choice: dict[str, Any]) -> float:
    return float(np.mean(choice["logprobs"]["token_logprobs"]))


def test_the_best_of_several_are_those_of_the_highest_log_probability_per_token(http: httpx.Client) -> None:
    """As OpenAI has it; what is drawn is what n of as many would draw."""
    asked = {
        "prompt": ["Once upon a time", "The sea"],
        "temperature": 1.5,
        "seed": 3,
        "max_tokens": 8,
        "ignore_eos": True,
    }
    all_of_them = ask(http, **asked, n=6, logprobs=0)["choices"]
    best = ask(http, **asked, n=2, best_of=6, logprobs=0)
    assert [choice["index"] for choice in best["choices"]] == [0, 1, 2, 3]
    for prompt in range(2):
        ranked = sorted(all_of_them[6 * prompt : 6 * prompt + 6], key=mean_logprob, reverse=True)
        found = best["choices"][2 * prompt : 2 * prompt + 2]
        assert [choice["text"] for choice in found] == [choice["text"] for choice in ranked[:2]]
        assert [choice["logprobs"] for choice in found] == [choice["logprobs"] for choice in ranked[:2]]
    assert best["usage"]["completion_tokens"] == 2 * 6 * 8
    plain = ask(http, **asked, n=2, best_of=6)["choices"]
    assert [choice["text"] for choice in plain] == [choice["text"] for choice in best["choices"]]
    assert {choice["logprobs"] for choice in plain} == {None}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2, "best_of": 1}, "less than the 2 replies"),
        ({"best_of": 2, "stream": True}, "leave stream out"),
        ({"best_of": 100}, "at most 16"),
    ],
)
def test_what_best_of_cannot_be_is_told(http: httpx.Client, fields: dict[str, Any], said: str) -> None:
    reply = http.post(PATH, json={"prompt": "a", "max_tokens": 1, **fields})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "best_of"
    assert said in reply.json()["error"]["message"]
    assert (
        http.post(PATH, json={"prompt": "a", "max_tokens": 1, "n": 2, "best_of": 2, "stream": True}).status_code == 200
    )
