"""Perplexity by llama.cpp's convention, against the exact reference."""

from __future__ import annotations

import numpy as np
import pytest

import lutmac
from lutmac.engine.measuring.perplexity import measure_perplexity
from lutmac.errors import InvalidRequestError
from tiny_llama import TinyLlama

TOKENS = [(i * i + 3 * i) % 251 for i in range(100)]


def losses(tiny: TinyLlama, window: list[int]) -> list[float]:
    logits = tiny.logits(window)
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return [-log_shares[j, window[j + 1]] for j in range(len(window) // 2, len(window) - 1)]


def test_the_second_half_of_each_window_is_scored(tiny: TinyLlama) -> None:
    expected = losses(tiny, TOKENS[:32]) + losses(tiny, TOKENS[32:64]) + losses(tiny, TOKENS[64:96])
    found = lutmac.load(tiny.path, precision="exact").perplexity(TOKENS, ctx=32)
    assert (found.windows, found.tokens_scored) == (3, 3 * 15)
    assert found.perplexity == pytest.approx(np.exp(np.mean(expected)), rel=2e-3)
    spread = np.std(expected) / np.sqrt(len(expected) - 1)
    assert found.standard_error == pytest.approx(found.perplexity * spread, rel=2e-2)


def test_bos_takes_the_place_of_each_first_token(tiny: TinyLlama) -> None:
    expected = losses(tiny, [5, *TOKENS[1:32]]) + losses(tiny, [5, *TOKENS[33:64]])
    model = lutmac.load(tiny.path, precision="exact")
    found = measure_perplexity(model._engine, TOKENS, 5, ctx=32, windows=2)
    assert found.perplexity == pytest.approx(np.exp(np.mean(expected)), rel=2e-3)


def test_windows_and_progress(tiny_model: lutmac.Model) -> None:
    seen: list[tuple[int, int, str]] = []
    found = tiny_model.perplexity(TOKENS, ctx=16, windows=2, progress=lambda *step: seen.append(step))
    assert found.windows == 2
    assert seen == [(1, 2, "perplexity"), (2, 2, "perplexity")]


def test_control_tokens_in_the_text_are_text(tiny_model: lutmac.Model) -> None:
    assert tiny_model.perplexity("<|im_end|>" * 2, ctx=20).windows == 1


@pytest.mark.parametrize(("text", "options"), [("short", {}), (TOKENS, {"ctx": 2}), (TOKENS, {"windows": 0})])
def test_what_cannot_be_scored_is_an_error(tiny_model: lutmac.Model, text: str, options: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError):
        tiny_model.perplexity(text, **options)  # type: ignore[arg-type]
