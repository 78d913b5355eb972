"""What llama-cpp-python makes of a file. Only programs that make or check references need it, not the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np


def logits_of_llama_cpp(file: Path, tokens: Sequence[int]) -> np.ndarray:
    """[tokens, vocabulary], with keys and values in float32."""
    model = llama_cpp.Llama(
        str(file), n_ctx=512, logits_all=True, type_k=0, type_v=0, verbose=False, n_threads=1, flash_attn=False
    )
    model.eval(list(tokens))
    return np.array(model.scores[: len(tokens)])
