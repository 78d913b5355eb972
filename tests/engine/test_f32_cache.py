"""Keys and values as float32: the reference, in twice the memory of f16."""

from __future__ import annotations

import numpy as np
import pytest

import lutmac
from tiny_llama import HEAD_DIM, KV_HEADS, LAYERS, TinyLlama

TOKENS = [(11 * i) % 251 for i in range(200)]


def test_it_takes_twice_the_memory(tiny: TinyLlama) -> None:
    info = lutmac.load(tiny.path, kv_cache="f32").info()
    assert info.kv_cache == "f32"
    assert info.cache_bytes_per_position == LAYERS * KV_HEADS * 2 * 4 * HEAD_DIM


@pytest.mark.parametrize("isa", [None, "portable"])
def test_exact_logits_are_those_of_float_arithmetic(tiny: TinyLlama, isa: str | None) -> None:
    """What is left is the order of float sums: some 1e-6 of the spread; the f16 cache is tens of times further off."""
    expected = tiny.logits(TOKENS)

    def error(kind: str) -> float:
        model = lutmac.load(tiny.path, precision="exact", kv_cache=kind, isa=isa)  # type: ignore[arg-type]
        return float(np.abs(model.logits(TOKENS) - expected).max() / expected.std())

    assert error("f32") < 2e-5
    assert error("f32") < error("f16") / 10
