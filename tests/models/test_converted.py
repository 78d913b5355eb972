"""GGUF files of llama.cpp's converter against transformers; converted/make.py wrote both, and tried llama.cpp too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lutmac

HERE = Path(__file__).parent / "converted"


@pytest.mark.parametrize(
    ("name", "f16_tolerance"),
    [
        ("olmo3", 3e-3),  # windows and YaRN, each in some layers; norms behind the attention
        ("granite", 2e-3),  # rope.scaling.finetuned is false: no rope
        ("mistral3", 2e-3),
        ("qwen2_5_vl", 2e-3),
        ("qwen3_vl", 3e-3),
        ("qwen3_vl_moe", 3e-3),
        ("stablelm", 2e-3),  # LayerNorms, biases, a quarter of each head rotated
        ("stablelm-parallel", 2e-3),
        ("starcoder2", 2e-3),  # no gate; the head is the embedding
        ("lfm2", 2e-3),  # convolutions; attention.head_count_kv is an array
    ],
)
def test_logits_are_those_of_transformers(name: str, f16_tolerance: float) -> None:
    """In standard deviations. Keys and values in float16 have 11 bits; in float32 sums alone are left."""
    references = np.load(HERE / "logits.npz")
    expected, tokens = references[name], references["tokens"].tolist()

    def difference(kind: str) -> float:
        model = lutmac.load(HERE / f"{name}.gguf", precision="exact", kv_cache=kind, threads=1)  # type: ignore[arg-type]
        return float(np.abs(model.logits(tokens)[7::8] - expected).max() / expected.std())

    assert difference("f16") < f16_tolerance
    assert difference("f32") < 1e-4
