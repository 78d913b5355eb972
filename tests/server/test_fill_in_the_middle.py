"""Filling in the middle with a real code model, as editors ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fetching import CannotFetchError, qwen_coder
from serving import Served, start

pytestmark = pytest.mark.slow
PREFIX = "def fibonacci(n):\n    if n < 2:\n        return n\n    return "
SUFFIX = "\n\nprint(fibonacci(10))\n"


@pytest.fixture(scope="module")
def coder() -> Iterator[Served]:
    try:
        path = qwen_coder()
    except CannotFetchError as error:
        pytest.skip(str(error))
    server = start(path, "--name", "qwen2.5-coder", "--context", "2048", patience=300)
    yield server
    server.process.kill()
    server.process.wait()


def test_a_completion_with_a_suffix(coder: Served) -> None:
    client = openai.OpenAI(base_url=f"{coder.url}/v1", api_key="none", timeout=300)
    whole = client.completions.create(model="x", prompt=PREFIX, suffix=SUFFIX, max_tokens=32, stop="\n", temperature=0)
    assert whole.choices[0].text == "fibonacci(n - 1) + fibonacci(n - 2)"
    parts = client.completions.create(
        model="x", prompt=PREFIX, suffix=SUFFIX, max_tokens=32, stop="\n", temperature=0, stream=True
    )
    assert "".join(part.choices[0].text for part in parts if part.choices) == whole.choices[0].text
    echoed = client.completions.create(
        model="x", prompt=PREFIX, suffix=SUFFIX, max_tokens=32, stop="\n", temperature=0, echo=True
    )
    assert echoed.choices[0].text == PREFIX + whole.choices[0].text


def test_infill(coder: Served) -> None:
    """llama.vim's: files beside the current one, the current line apart, and only some fields wanted."""
    with httpx.Client(base_url=coder.url, timeout=300) as http:
        body: dict[str, Any] = {
            "input_prefix": "from shapes import area_of_circle\n\nradius = 3\n", "input_suffix": "\nprint(area)\n",
            "prompt": "area = ", "n_predict": 24, "temperature": 0, "top_k": 40, "cache_prompt": True, "stream": False,
            "input_extra": [{"filename": "shapes.py",
                             "text": "def area_of_circle(radius):\n    return 3.14 * radius**2\n"}],
            "t_max_prompt_ms": 500, "t_max_predict_ms": 5000, "samplers": ["top_k", "top_p", "infill"],
            "response_fields": ["content", "timings/prompt_n", "timings/predicted_n", "truncated", "tokens_cached"],
        }  # fmt: skip
        found = http.post("/infill", json=body).json()
        assert found.keys() == set(body["response_fields"])
        assert "area_of_circle(radius)" in found["content"]
        long = {**body, "input_prefix": "x = 1\n" * 20_000 + body["input_prefix"], "input_suffix": "\n# end" * 5000}
        assert http.post("/infill", json=long).status_code == 200
        props = http.get("/props").json()
        assert "fim_prefix" not in props["chat_template"]
        tags = http.post("/api/show", json={"model": "x"}).json()
        assert "insert" in tags["capabilities"]
        filled = http.post("/api/generate", json={"prompt": PREFIX, "suffix": SUFFIX, "stream": False,
                                                  "options": {"temperature": 0, "num_predict": 32}}).json()  # fmt: skip
        assert "fibonacci(n" in filled["response"].replace(" ", "")
