"""NVIDIA ModelOpt checkpoints: NVFP4 and FP8, quantised and exported on the CPU.

torch==2.13.0 transformers==5.24.0 nvidia-modelopt==0.47.0
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import modelopt.torch.quantization as mtq
import torch
from base import ROOT, TOKENS, save_plain, write_reference, write_tokenizer
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.quantization.qtensor import NVFP4QTensor
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("nvidia-modelopt", "transformers", "torch"))
CASES = {"modelopt_nvfp4": mtq.NVFP4_DEFAULT_CFG, "modelopt_fp8": mtq.FP8_DEFAULT_CFG}


def dequantized(stored: dict[str, torch.Tensor], module: str) -> torch.Tensor:
    """The library's own weights in float32."""
    weight, scale = stored[f"{module}.weight"], stored[f"{module}.weight_scale"]
    if weight.dtype != torch.uint8:
        return weight.float() * scale.float()
    shape = torch.Size([weight.shape[0], 2 * weight.shape[1]])
    return NVFP4QTensor(shape, torch.float32, weight).dequantize(
        scale=scale, double_scale=stored[f"{module}.weight_scale_2"], block_sizes={-1: 16}
    )


for name, config in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory = ROOT / name
    save_plain(directory, torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    model = mtq.quantize(model, config, lambda model: model(torch.tensor([TOKENS])))
    export_hf_checkpoint(model, export_dir=directory)
    write_tokenizer(directory)
    stored = load_file(directory / "model.safetensors")
    weights = {n: w for n, w in stored.items() if n.endswith((".weight", ".bias"))}
    for key in stored:
        if key.endswith(".weight_scale"):
            module = key.removesuffix(".weight_scale")
            weights[f"{module}.weight"] = dequantized(stored, module)
    write_reference(directory, weights, MADE_WITH)
