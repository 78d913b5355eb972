"""What the scripts share that write quantised models here: a plain model to start from, its reference afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
TOKENIZER = HERE.parents[1] / "checkpoints" / "huggingface" / "bf16"
TOKENS = [(7 * i + 3) % 300 for i in range(80)]
KEPT = slice(7, None, 8)  # positions whose logits are written
SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.08,
    "bos_token_id": 300,
    "eos_token_id": 301,
    "pad_token_id": 301,
}


def plain(kind: str, **config: Any) -> Path:
    """A directory with a model of random weights, and a tokenizer for writers that ask for one."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES, **config))
    for name, values in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(values, 0.0 if kind.startswith("gemma") else 1.0, 0.1)
    directory = Path(tempfile.mkdtemp())
    model.bfloat16().save_pretrained(directory)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / file, directory / file)
    return directory


def write(name: str, made: Path, start: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Keeps a quantised model, and the logits of the plain one with those weights dequantised, all in float32."""
    shutil.copy(made / "model.safetensors", HERE / f"{name}.safetensors")
    shutil.copy(made / "config.json", HERE / f"{name}.json")
    state = {key: values.float() for key, values in load_file(start / "model.safetensors").items()}
    assert weights.keys() <= state.keys(), weights.keys() - state.keys()
    save_file({**state, **{key: values.float().contiguous() for key, values in weights.items()}},
              start / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = model(torch.tensor([TOKENS])).logits[0].numpy()
    print(f"{name}: {len(weights)} matrices of {len(state)} tensors, logits of deviation {logits.std():.3f}")
    np.savez_compressed(HERE / f"{name}.npz", tokens=TOKENS, logits=logits[KEPT])
