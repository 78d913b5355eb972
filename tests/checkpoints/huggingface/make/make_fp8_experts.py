"""A mixture of experts in FP8 with blocks, a matrix for each expert, as Qwen3's FP8 checkpoints have them.

See make_fp8.py for who quantises and dequantises.
torch==2.13.0 transformers==5.24.0
"""

from __future__ import annotations

import json
import re
import shutil
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import torch
from base import ROOT, TOKENS, write_tokenizer
from safetensors.torch import load_file, save_file
from transformers import FineGrainedFP8Config, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.integrations.finegrained_fp8 import Fp8Quantize, _dequantize_fp8_weight

MADE_WITH = f"transformers {version('transformers')}, torch {torch.__version__}"
BLOCK = (64, 32)
config = Qwen3MoeConfig(
    vocab_size=320, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
    max_position_embeddings=256, bos_token_id=300, eos_token_id=301, pad_token_id=None, num_experts_per_tok=2,
    intermediate_size=128, moe_intermediate_size=64, num_experts=4, norm_topk_prob=True, tie_word_embeddings=False,
)  # fmt: skip
torch.manual_seed(7)
model = Qwen3MoeForCausalLM(config).float().eval()
for key, parameter in model.named_parameters():
    spread = parameter.shape[-1] ** -0.5 if parameter.ndim >= 2 and "embed" not in key else 0.2
    value = (1.0 if "norm" in key else 0.0) + spread * torch.randn_like(parameter)
    parameter.data = value.bfloat16().float()

directory = ROOT / "fp8_qwen3_moe"
shutil.rmtree(directory, ignore_errors=True)
model.save_pretrained(directory)
write_tokenizer(directory)
quantise = Fp8Quantize(SimpleNamespace(quantization_config=FineGrainedFP8Config(weight_block_size=BLOCK)))
tensors, state, reference = {}, model.state_dict(), {}
for key, value in load_file(directory / "model.safetensors").items():
    if not key.endswith("_proj.weight"):
        tensors[key] = value.bfloat16()
        continue
    made = quantise.convert({key: value})
    tensors |= made
    exact = _dequantize_fp8_weight(made[key], made[f"{key}_scale_inv"], list(BLOCK), torch.float32)
    expert = re.fullmatch(r"(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight", key)
    if expert is None:
        state[key] = exact
        continue
    stack = state[f"{expert[1]}.{'down_proj' if expert[3] == 'down' else 'gate_up_proj'}"][int(expert[2])]
    half = len(stack) // 2
    stack[{"gate": slice(0, half), "up": slice(half, None), "down": slice(None)}[expert[3]]] = exact
    if expert[2] == "3" and expert[3] == "down":
        reference[key.removesuffix(".weight")] = exact.numpy()
model.load_state_dict(state)
save_file(
    {key: value.contiguous() for key, value in tensors.items()}, directory / "model.safetensors", {"format": "pt"}
)
stored = json.loads((directory / "config.json").read_text())
stored["quantization_config"] = {
    "quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": list(BLOCK),
}  # fmt: skip
(directory / "config.json").write_text(json.dumps(stored, indent=1))
with torch.no_grad():
    logits = model(torch.tensor([TOKENS])).logits[0].numpy()
np.savez_compressed(directory / "reference.npz", tokens=np.array(TOKENS), logits=logits, **reference)
(directory / "made_with.json").write_text(json.dumps({"made_with": MADE_WITH}, indent=1) + "\n")
