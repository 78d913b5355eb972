"""Keys and values as int8: near the f16 cache, in half of its memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lutmac
from tiny_llama import HEAD_DIM, KV_HEADS, LAYERS, TinyLlama

TOKENS = [(11 * i) % 251 for i in range(200)]


def test_it_takes_half_the_memory(tiny: TinyLlama) -> None:
    """A key or value takes a byte; so do two bytes of scale for each 32 dimensions, of which a head here has as many."""
    f16, int8 = (lutmac.load(tiny.path, kv_cache=kind).info() for kind in ("f16", "int8"))  # type: ignore[arg-type]
    assert (f16.kv_cache, int8.kv_cache) == ("f16", "int8")
    assert f16.cache_bytes_per_position == LAYERS * KV_HEADS * 2 * 2 * HEAD_DIM
    assert int8.cache_bytes_per_position == LAYERS * KV_HEADS * 2 * (HEAD_DIM + 2)


def test_logits_stay_near_the_exact_ones(tiny: TinyLlama) -> None:
    """A code is off by at most 1/254 of its block's largest, uniformly: 1/254/sqrt(3) = 0.23% of that in root mean square.

    Attention averages it over positions, and the residual carries most of what reaches the logits: far less than 1% of
    their spread is left. An f16 cache, under whose rounding of 2^-12 this must not fall, is a tenth of that away.
    """
    exact = tiny.logits(TOKENS)
    spread = np.sqrt(((exact - exact.mean(axis=1, keepdims=True)) ** 2).mean())

    def error(kind: str) -> float:
        found = lutmac.load(tiny.path, precision="exact", kv_cache=kind).logits(TOKENS)  # type: ignore[arg-type]
        return float(np.sqrt(((found - exact) ** 2).mean()) / spread)

    assert error("int8") < 0.01
    assert error("f16") < error("int8") / 3


def test_the_default_model_says_the_same(smollm2_path: Path) -> None:
    model = lutmac.load(smollm2_path, kv_cache="int8")
    assert model.generate("The capital of France is", temperature=0, max_tokens=4).text.startswith(" Paris")
