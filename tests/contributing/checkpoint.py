"""The small random checkpoint with which the added architecture is tried."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "architectures"))

from random_weights import Shapes, random_weights

TOKENS = [300, *range(72, 130), 301, *range(11, 47)]
CONFIG: dict[str, Any] = {
    "model_type": "llama_dyt",
    "vocab_size": 333,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 300,
    "eos_token_id": 301,
}


def weights(shapes: Shapes) -> dict[str, np.ndarray]:
    """Random ones; alphas from 1/2 to 1, in which a tanh is far from straight."""
    made = random_weights(CONFIG, shapes)
    alphas = {name: 0.25 + values / 2 for name, values in made.items() if name.endswith(".alpha")}
    return {**made, **alphas}
