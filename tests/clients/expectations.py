"""What lutmac computes without a server, for a client to be compared with: log-likelihoods for lm_eval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import lutmac

# Contexts and continuations. The tokens of a context and of a continuation are those of both together, as in lm_eval.
CONTINUATIONS = [
    ("The capital of France is", " Paris"),
    ("The capital of France is", " Berlin"),
    ("def add(a, b):\n    return", " a + b"),
    ("Water boils at one hundred degrees", " Celsius"),
]


def write_expectations(model: Path, file: Path) -> None:
    """Computes the log-likelihood of each continuation by ``Model.logits``, and writes them to a file."""
    with_logits = lutmac.load(model)
    found = []
    for context, continuation in CONTINUATIONS:
        start = len(with_logits.tokenizer.encode(context, add_special=False))
        ids = with_logits.tokenizer.encode(context + continuation, add_special=False)
        logits = with_logits.logits(ids).astype(np.float64)
        logprobs = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        logprobs -= logits.max(-1, keepdims=True)
        total = sum(logprobs[place - 1, ids[place]] for place in range(start, len(ids)))
        greedy = all(int(logits[place - 1].argmax()) == ids[place] for place in range(start, len(ids)))
        found.append({"context": context, "continuation": continuation, "logprob": total, "greedy": greedy})
    file.write_text(json.dumps({"continuations": found}))
