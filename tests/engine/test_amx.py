"""ISA target amx, whose prompts have another arithmetic than replies, with plain C++ in place of its matrix unit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import amx_twin
import serving

TESTS = Path(__file__).parents[1]
DIVERGENCE = """
import sys, numpy as np, lutmac
found = {}
for precision in ("exact", "default", "uniform"):
    model = lutmac.load(sys.argv[1], precision=precision)
    tokens = model.tokenizer.encode("The tower is 324 metres tall, about the same height as an 81-storey building.")
    logits = model.logits(tokens).astype(np.float64)
    found[precision] = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
exact = found.pop("exact")
print(model.info().isa, *((np.exp(exact) * (exact - each)).sum(axis=1).mean() for each in found.values()))
"""
MIXTURE = """
import sys, concurrent.futures, lutmac
sys.path += [sys.argv[2], sys.argv[2] + "/models"]
from test_architectures_gguf import write
from pathlib import Path
path = write(Path(sys.argv[1]) / "mixture.gguf", "qwen3-moe", "Q4_0")
model = lutmac.load(path, threads=2, max_batch_tokens=48)
def generate(seed):
    prompt = [(11 * seed + 5 * i) % 96 for i in range(3 + 9 * seed)]
    found = model.generate(prompt, max_tokens=40, temperature=1.0, seed=seed, ignore_eos=True, logprobs=1)
    return found.token_ids, found.logprobs
together = lutmac.load(path, threads=2, max_batch_tokens=48)
alone = [generate(seed) for seed in range(12)]
model = together
with concurrent.futures.ThreadPoolExecutor(12) as pool:
    assert list(pool.map(generate, range(12))) == alone
"""
CHAT = """
import sys, lutmac
say = dict(temperature=0.0, max_tokens=24, logprobs=2)
def bits(completion):
    return completion.token_ids, completion.logprobs
for precision in ("default", "uniform"):
    model, fresh = (lutmac.load(sys.argv[1], threads=2, precision=precision, context=1024) for _ in range(2))
    conversation = model.conversation()
    first = list(conversation.send("Tell me about the tower in Paris.", **say))[-1].completion
    messages = [*conversation.messages, {"role": "user", "content": "How tall is it?"}]
    second = list(conversation.send(messages[-1]["content"], **say))[-1].completion
    # A new engine has the reply to compute, and computes it as it was drawn.
    assert bits(fresh.chat(messages, **say)) == bits(second)
    new = second.prompt_tokens - first.prompt_tokens - len(first.token_ids)
    assert second.timings.prefill_tokens <= new + 4, (second.timings, new)
    prompt = model.tokenizer.encode("The tower in Paris is")
    drawn = model.generate(prompt, **say)
    echoed = fresh.generate([*prompt, *drawn.token_ids], max_tokens=0, prompt_logprobs=2).prompt_logprobs
    pairs = zip(echoed[-len(drawn.token_ids):], drawn.logprobs, strict=True)
    print(model.info().precision, max(abs(one.logprob - other.logprob) for one, other in pairs))
"""
PRODUCTS = """
import numpy as np, lutmac
random = np.random.default_rng(0)
weights, x = random.standard_normal((200, 416), np.float32), random.standard_normal((40, 416), np.float32)
for bits in range(1, 9):
    matrix = lutmac.quantize(weights, bits=bits, group_size=32)
    exact = lutmac.matmul(x, matrix, precision="exact")
    error = [np.linalg.norm(lutmac.matmul(x, matrix, prompt=prompt) - exact) for prompt in (True, False)]
    print(*(each / np.linalg.norm(exact) for each in error))
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Of a process whose package lutmac has the twin."""
    try:
        folder = amx_twin.folder()
    except amx_twin.CannotBuildError as error:
        pytest.skip(f"cannot build the twin: {error}")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop("LUTMAC_ISA", None)
    if run("from lutmac import _native; print(*_native.available_targets())", environment).split()[0] != "amx":
        pytest.skip("the processor lacks AVX-512 with VBMI, BF16 or GFNI")
    return environment


def run(program: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_bits_are_the_same_in_any_batch(environment: dict[str, str]) -> None:
    """The tests of every target, where prompts are cut into chunks and single tokens, and replies stand beside them."""
    tests = ["engine/test_batch_invariance.py", "engine/test_prefix_cache.py", "engine/test_roles.py"]
    tests += ["models/test_architectures_gguf.py::test_threads_and_chunks_do_not_change_a_bit"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *(str(TESTS / test) for test in tests),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_step_of_a_mixture_has_rows_of_both_roles(environment: dict[str, str], tmp_path: Path) -> None:
    """Prompts and replies that share steps are what each is alone."""
    run(MIXTURE, environment, str(tmp_path), str(TESTS))


@pytest.mark.slow
def test_a_next_turn_finds_its_reply_and_has_the_bits_of_an_empty_cache(
    environment: dict[str, str], smollm2_path: Path
) -> None:
    """In uniform precision an echoed reply has the log probabilities that it was drawn with, by default others.

    Those of a text are summed in float32, to within 1e-6.
    """
    found = dict(line.split() for line in run(CHAT, environment, str(smollm2_path)).splitlines())
    assert float(found["uniform"]) < 1e-6
    assert 1e-4 < float(found["default"]) < 0.3


@pytest.mark.slow
def test_every_kind_of_chat_finds_its_reply(environment: dict[str, str], smollm2_path: Path) -> None:
    served = serving.start(smollm2_path, "--context", 1024, environment=environment)
    try:
        with served.client() as http:
            for path, key, limits, reply_of in CHATS:
                history: list[dict[str, str]] = [{"role": "user", "content": f"At {path}: tell me about the sea."}]
                body = {"model": "smollm2", "temperature": 0, "stream": False, **limits}
                before = figures(http)
                reply = reply_of(http.post(path, json={**body, key: history}).json())
                prompt, drawn = (after - was for after, was in zip(figures(http)[:2], before[:2], strict=True))
                history += [{"role": "assistant", "content": reply}, {"role": "user", "content": "And the sky?"}]
                hits = figures(http)[2]
                assert http.post(path, json={**body, key: history}).status_code == 200
                # All that ran; fewer than four tokens behind a page's border are not copied.
                assert figures(http)[2] - hits >= prompt + drawn - 4, path
    finally:
        served.stop()


OLLAMA = {"options": {"num_predict": 24, "temperature": 0}}
CHATS: list[tuple[str, str, dict[str, Any], Callable[[Any], str]]] = [
    ("/v1/chat/completions", "messages", {"max_tokens": 24}, lambda body: body["choices"][0]["message"]["content"]),
    ("/v1/messages", "messages", {"max_tokens": 24}, lambda body: body["content"][0]["text"]),
    ("/v1/responses", "input", {"max_output_tokens": 24}, lambda body: body["output"][-1]["content"][0]["text"]),
    ("/api/chat", "messages", OLLAMA, lambda body: body["message"]["content"]),
]


def figures(http: httpx.Client) -> list[float]:
    """Tokens of prompts and of replies so far, and those of prompts that were found in the cache."""
    text = http.get("/metrics").text
    names = ("prompt_tokens", "generated_tokens", "prefix_hit_tokens")
    return [float(re.findall(rf"^lutmac_{name}_total (\S+)$", text, re.MULTILINE)[0]) for name in names]


@pytest.mark.slow
def test_prompts_are_nearer_to_exact_than_replies(environment: dict[str, str], smollm2_path: Path) -> None:
    """In Kullback-Leibler divergence, which grows with the square of the error.

    Of a product, that is 2^-9 * sqrt(2 / 3) in the mean for bf16, 1.6e-3, and 6e-3 to 8e-3 for tables.
    """
    target, prompts, replies = run(DIVERGENCE, environment, str(smollm2_path)).split()
    assert target == "amx"
    assert 4 * float(prompts) < float(replies) < 4e-3


@pytest.mark.slow
def test_products_of_arrays_are_lookups_unless_asked(environment: dict[str, str]) -> None:
    """In bf16 either factor of a product is off by at most 2^-9 of itself."""
    for line in run(PRODUCTS, environment).splitlines():
        prompt, lookup = map(float, line.split())
        assert prompt < 2**-8
        assert prompt != lookup
