"""Trains trained_bitnet: a small BitNet b1.58 in the form of Microsoft's 2B-4T, its weights packed.

Rounding to int8 costs a trained model something and one of random weights nothing, so that perplexity says more of
this one. It reads the topics of Python's own help, but for those that the test scores; every forward pass rounds
weights and activations, as the reference does (Ma et al., 2024, https://arxiv.org/abs/2402.17764).

Made with torch==2.13.0 and transformers==5.23.0 on Python 3.11, in a minute or two:
``TORCHDYNAMO_DISABLE=1 python tests/models/make_trained_bitnet.py``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from bitnet_text import trained_text
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BitNetConfig, BitNetForCausalLM
from transformers.integrations.bitnet import AutoBitLinear

ROOT = Path(__file__).parent / "trained_bitnet"
TOKENIZER = Path(__file__).parents[1] / "checkpoints" / "huggingface" / "bf16"
CONFIG = {
    "vocab_size": 320, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "hidden_act": "relu2", "max_position_embeddings": 512, "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "bos_token_id": 300, "eos_token_id": 301,
}  # fmt: skip
STEPS, BATCH, LENGTH, RATE = 500, 8, 96, 4e-3


def rounding_model() -> BitNetForCausalLM:
    """Products of the layers round what they read and their weights; gradients pass through (Bengio et al., 2013)."""
    model = BitNetForCausalLM(BitNetConfig(**CONFIG))
    for name, module in list(model.named_modules()):
        if name.endswith("_proj"):
            rounding = AutoBitLinear(module.in_features, module.out_features, bias=False, online_quant=True)
            rounding.weight = module.weight
            model.set_submodule(name, rounding)
    return model


def train(model: BitNetForCausalLM, tokens: torch.Tensor) -> None:
    """Pieces of the text at random, the rate going down to nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.05)
    for step in range(STEPS):
        begins = torch.randint(len(tokens) - LENGTH, (BATCH,))
        batch = torch.stack([tokens[begin : begin + LENGTH] for begin in begins])
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0 or step == STEPS - 1:
            print(step, round(loss.item(), 3), flush=True)


def packed(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits 2i and 2i+1 hold row i*N/4 + n plus one; the scale multiplies."""
    mean = weight.abs().mean().clamp(min=1e-5)
    codes = (weight / mean).round().clamp(-1, 1) + 1
    rows = codes.to(torch.uint8).reshape(4, -1, weight.shape[1])
    return rows[0] | rows[1] << 2 | rows[2] << 4 | rows[3] << 6, mean.reshape(1).bfloat16()


def save(model: BitNetForCausalLM) -> None:
    """A Hugging Face directory."""
    tensors = {}
    for name, value in model.state_dict().items():
        if name.endswith("_proj.weight"):
            tensors[name], tensors[f"{name}_scale"] = packed(value.float())
        elif name != "lm_head.weight":
            tensors[name] = value.bfloat16()
    quantization = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
    config = {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet", **CONFIG}
    ROOT.mkdir(exist_ok=True)
    (ROOT / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}, indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, ROOT / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, ROOT / name)


torch.manual_seed(4)
torch.set_num_threads(1)
MODEL = rounding_model()
train(MODEL, torch.tensor(Tokenizer.from_file(str(TOKENIZER / "tokenizer.json")).encode(trained_text()).ids))
save(MODEL)
