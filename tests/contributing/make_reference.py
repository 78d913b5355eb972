"""Writes reference.npz: the logits of transformers' Llama with Dynamic Tanhs in place of its norms, and its weights.

The module is as section 5 of https://arxiv.org/abs/2503.10622 gives it. Made with torch==2.13.0 and
transformers==5.24.0: ``pip install torch transformers``, then ``python tests/contributing/make_reference.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from checkpoint import CONFIG, TOKENS, weights  # noqa: E402


class DynamicTanh(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.ones(1))
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.bias = torch.nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * torch.tanh(self.alpha * x) + self.bias


def main() -> None:
    config = AutoConfig.for_model(**{**CONFIG, "model_type": "llama"})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    model.model.norm = DynamicTanh(config.hidden_size)
    for layer in model.model.layers:
        layer.input_layernorm = DynamicTanh(config.hidden_size)
        layer.post_attention_layernorm = DynamicTanh(config.hidden_size)
    shapes = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    model.load_state_dict({name: torch.tensor(values) for name, values in weights(shapes).items()})
    with torch.no_grad():
        found = model(torch.tensor([TOKENS])).logits[0].numpy()
    print(f"logits of mean {found.mean():.3f} and deviation {found.std():.3f}")
    names = {f"shape of {name}": np.array(shape) for name, shape in shapes.items()}
    np.savez_compressed(HERE / "reference.npz", logits=found[::4], **names)


if __name__ == "__main__":
    main()
