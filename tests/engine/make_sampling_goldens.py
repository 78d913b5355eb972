"""Writes sampling_goldens.json: which tokens llama.cpp's samplers leave of some logits.

Made with llama-cpp-python 0.3.36: ``pip install llama-cpp-python``, then
``python tests/engine/make_sampling_goldens.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import llama_cpp
import numpy as np

CASES = {"flat": 0.3, "usual": 2.0, "peaked": 6.0}  # the logits' deviation
VOCABULARY = 40
INITS = {
    "top_k": llama_cpp.llama_sampler_init_top_k,
    "typical_p": lambda value: llama_cpp.llama_sampler_init_typical(value, 1),
    "top_p": lambda value: llama_cpp.llama_sampler_init_top_p(value, 1),
    "min_p": lambda value: llama_cpp.llama_sampler_init_min_p(value, 1),
}
CHAINS: list[dict[str, float]] = [
    *({"typical_p": p} for p in (0.1, 0.3, 0.5, 0.8, 0.95, 0.999)),
    *({"top_k": 12, "typical_p": p} for p in (0.3, 0.6, 0.9)),
    {"typical_p": 0.6, "top_p": 0.5},
    {"top_k": 20, "typical_p": 0.9, "top_p": 0.8, "min_p": 0.1},
    {"top_k": 12, "top_p": 0.7},
    {"top_p": 0.9, "min_p": 0.2},
]


def kept(logits: list[float], chain: dict[str, float]) -> list[int]:
    """Ids that are left, in order; each sampler is one of llama.cpp's, in the order of its default chain."""
    data = (llama_cpp.llama_token_data * len(logits))(*((id, logit, 0.0) for id, logit in enumerate(logits)))
    tokens = llama_cpp.llama_token_data_array(data=data, size=len(logits), selected=-1, sorted=False)
    for name, value in chain.items():
        sampler = INITS[name](int(value) if name == "top_k" else value)
        llama_cpp.llama_sampler_apply(sampler, tokens)
        llama_cpp.llama_sampler_free(sampler)
    return sorted(tokens.data[i].id for i in range(tokens.size))


def main() -> None:
    cases = []
    for seed, (name, deviation) in enumerate(CASES.items()):
        logits = np.random.default_rng(seed).normal(0, deviation, VOCABULARY).astype(np.float32).round(3).tolist()
        cases += [{"logits": name, "options": chain, "kept": kept(logits, chain)} for chain in CHAINS]
        cases[-len(CHAINS)]["values"] = logits
    text = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("sampling_goldens.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
