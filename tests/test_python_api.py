"""What a person meets at Python's prompt: names, help, types, `with`, asyncio."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lutmac
from tiny_llama import make_tiny_llama

SCRIPT = Path(__file__).parent / "typing" / "every_public_name.py"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("api") / "tiny.gguf", "Q4_0").path


def test_dir_has_every_public_name_and_each_has_a_home() -> None:
    assert set(lutmac.__all__) <= set(dir(lutmac))
    for name in lutmac.__all__:
        assert getattr(lutmac, name).__doc__ or name == "Precision"
        assert name in SCRIPT.read_text(), f"{SCRIPT.name} does not use {name}"


def test_help_reads_like_a_page() -> None:
    page = subprocess.run(
        [sys.executable, "-c", "import lutmac; help(lutmac)"], capture_output=True, text=True, check=True
    ).stdout
    assert "lutmac runs low-bit language models" in page
    for name in ("class Model(", "quantize(", "load(", "class LutmacError("):
        assert name in page


def test_a_closed_model_says_so(path: Path) -> None:
    with lutmac.load(path, threads=1) as model:
        assert repr(model).startswith("<Model 'tiny")
        assert "context" in repr(model)
        model.generate([1, 2, 3], max_tokens=1)
    assert "closed" in repr(model)
    model.close()
    for call in (lambda: model.generate([1], max_tokens=1), lambda: model.logits([1]), model.program):
        with pytest.raises(lutmac.EngineClosedError, match="has been closed"):
            call()


def test_the_calls_for_asyncio_give_what_the_others_give(path: Path) -> None:
    model = lutmac.load(path, threads=1)
    options: lutmac.GenerationOptions = {"max_tokens": 5, "temperature": 0}
    prompts = [[1, 2, 3], [4, 5], [6]]

    async def all_at_once() -> list[lutmac.Completion]:
        return await asyncio.gather(*(model.agenerate(prompt, **options) for prompt in prompts))

    async def streamed() -> tuple[int, ...]:
        return tuple([id async for chunk in model.astream(prompts[0], **options) for id in chunk.token_ids])

    expected = [model.generate(prompt, **options).token_ids for prompt in prompts]
    assert [found.token_ids for found in asyncio.run(all_at_once())] == expected
    assert asyncio.run(streamed()) == expected[0]
    np.testing.assert_array_equal(asyncio.run(model.aembed(prompts)), model.embed(prompts))
    with pytest.raises(lutmac.InvalidRequestError, match="unknown parameter"):
        asyncio.run(model.agenerate([1], nonsense=1))  # type: ignore[call-arg]
    model.close()
    with pytest.raises(lutmac.EngineClosedError):
        asyncio.run(model.agenerate([1]))
