"""Keys and values as int8: near the f16 cache, in half of its memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lutmac
from tiny_llama import HEAD_DIM, KV_HEADS, LAYERS, TinyLlama

TOKENS = [(11 * i) % 251 for i in range(200)]


def test_it_takes_half_the_memory(tiny: TinyLlama) -> None:
    """A key or value takes a byte, and each 32 dimensions (a head here has as many) two bytes of scale."""
    f16, int8 = (lutmac.load(tiny.path, kv_cache=kind).info() for kind in ("f16", "int8"))  # type: ignore[arg-type]
    assert (f16.kv_cache, int8.kv_cache) == ("f16", "int8")
    assert f16.cache_bytes_per_position == LAYERS * KV_HEADS * 2 * 2 * HEAD_DIM
    assert int8.cache_bytes_per_position == LAYERS * KV_HEADS * 2 * (HEAD_DIM + 2)


def test_logits_stay_near_the_exact_ones(tiny: TinyLlama) -> None:
    """A code is off by at most 1/254 of its block's largest, uniformly: 1/254/sqrt(3) = 0.23% of that as RMS.

    The largest of 32 normal values is twice their root mean square: 0.5% of a key or value. Keys and values of two
    layers are four such errors, independent of each other: 1% of what attention adds, which the spread of the logits
    holds a good part of. Twice that is allowed. The f16 cache rounds to 2^-12 and has to be far below.
    """
    exact = tiny.logits(TOKENS)
    spread = np.sqrt(((exact - exact.mean(axis=1, keepdims=True)) ** 2).mean())

    def error(kind: str) -> float:
        found = lutmac.load(tiny.path, precision="exact", kv_cache=kind).logits(TOKENS)  # type: ignore[arg-type]
        return float(np.sqrt(((found - exact) ** 2).mean()) / spread)

    assert error("int8") < 0.02
    assert error("f16") < error("int8") / 3


def test_the_default_model_says_the_same(smollm2_path: Path) -> None:
    model = lutmac.load(smollm2_path, kv_cache="int8")
    assert model.generate("The capital of France is", temperature=0, max_tokens=4).text.startswith(" Paris")
