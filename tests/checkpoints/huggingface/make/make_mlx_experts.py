"""Mixtures of experts as mlx-lm converts them: the matrices of all experts of a layer in one tensor, under other names.

torch==2.13.0 transformers==5.24.0 mlx==0.32.4 (mlx-cpu) mlx-lm==0.32.2
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from base import ROOT, TOKENS, write_tokenizer
from mlx_lm import convert
from transformers import MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("mlx", "mlx-lm", "transformers", "torch"))
SHAPE = {
    "vocab_size": 320, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "max_position_embeddings": 256, "bos_token_id": 300, "eos_token_id": 301, "pad_token_id": None,
    "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip
CASES = {
    "mlx_qwen3_moe": (
        Qwen3MoeForCausalLM, "mlp",
        Qwen3MoeConfig(**SHAPE, intermediate_size=128, moe_intermediate_size=64, num_experts=4, norm_topk_prob=True),
    ),
    "mlx_mixtral": (
        MixtralForCausalLM, "block_sparse_moe",
        MixtralConfig(**SHAPE, intermediate_size=64, num_local_experts=4, sliding_window=None),
    ),
}  # fmt: skip


def tensor(array: mx.array) -> torch.Tensor:
    return torch.from_numpy(np.array(array.astype(mx.float32)))


for name, (family, block, config) in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory, plain = ROOT / name, Path(tempfile.mkdtemp())
    torch.manual_seed(7)
    model = family(config).float().eval()
    for key, parameter in model.named_parameters():
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim >= 2 and "embed" not in key else 0.2
        parameter.data = (1.0 if "norm" in key else 0.0) + spread * torch.randn_like(parameter)
    model.save_pretrained(plain)
    written = json.loads((plain / "config.json").read_text())
    written |= {"rope_theta": config.rope_parameters["rope_theta"], "num_experts": 4}  # as the hub's files name them
    (plain / "config.json").write_text(json.dumps(written))
    write_tokenizer(plain)
    shutil.rmtree(directory, ignore_errors=True)
    convert(str(plain), str(directory), quantize=True, q_bits=4, q_group_size=32)
    (directory / "README.md").unlink(missing_ok=True)
    write_tokenizer(directory)
    stored = mx.load(str(directory / "model.safetensors"))
    settings = json.loads((directory / "config.json").read_text())["quantization"]
    weights: dict[str, torch.Tensor] = {}
    for key, value in stored.items():
        module, _, part = key.rpartition(".")
        if part == "weight" and f"{module}.scales" in stored:
            own = settings.get(module, settings)
            scales, biases = (stored[f"{module}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
            weights[key] = tensor(mx.dequantize(value, scales, biases, own["group_size"], own["bits"]))
        elif part == "weight":
            weights[key] = tensor(value)
    reference, state = {}, {}
    for key, value in weights.items():
        layer, _, matrix = key.partition(f".{block}.switch_mlp.")
        if not matrix:
            state[key.replace(f".{block}.gate.", ".mlp.gate.")] = value
        elif matrix == "down_proj.weight":
            state[f"{layer}.mlp.experts.down_proj"] = value
        elif matrix == "gate_proj.weight":
            up = weights[f"{layer}.{block}.switch_mlp.up_proj.weight"]
            state[f"{layer}.mlp.experts.gate_up_proj"] = torch.cat([value, up], dim=1)
            reference[f"{layer}.{block}.experts.3.{'w1' if block != 'mlp' else 'gate_proj'}"] = value[3].numpy()
    print(name, model.load_state_dict(state, strict=True))
    with torch.no_grad():
        logits = model(torch.tensor([TOKENS])).logits[0].numpy()
    np.savez_compressed(directory / "reference.npz", tokens=np.array(TOKENS), logits=logits, **reference)
    (directory / "made_with.json").write_text(json.dumps({"made_with": MADE_WITH}, indent=1) + "\n")
