"""AutoRound checkpoints in the layouts that it borrows, rounding to nearest (no tuning steps).

torch==2.13.0 auto-round==0.16.1
"""

from __future__ import annotations

import shutil
from importlib.metadata import version

import torch
from auto_round import AutoRound
from auto_round.export.export_to_awq.utils import dequantize_gemm
from base import ROOT, save_plain, write_reference, write_tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("auto-round", "transformers", "torch"))

for name, layout, bits, symmetric in (
    ("auto_round_gptq", "auto_round:auto_gptq", 4, True),
    ("auto_round_awq", "auto_round:auto_awq", 4, False),
    ("auto_round_own", "auto_round", 2, False),
    ("auto_round_own_3bit", "auto_round", 3, True),
):
    directory = ROOT / name
    save_plain(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float16)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rounder = AutoRound(model, tokenizer, bits=bits, group_size=32, sym=symmetric, iters=0, disable_opt_rtn=True)
    shutil.rmtree(directory)
    rounder.quantize_and_save(str(directory), format=layout)
    for path in directory.glob("*/*"):  # it writes into a folder named after the bits
        path.rename(directory / path.name)
    for folder in [path for path in directory.iterdir() if path.is_dir()]:
        folder.rmdir()
    write_tokenizer(directory)
    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, device_map="cpu")
    weights = {n: w for n, w in loaded.state_dict().items() if n.endswith((".weight", ".bias"))}
    stored = load_file(directory / "model.safetensors")
    for module_name, module in loaded.named_modules():
        if f"{module_name}.qweight" not in stored:
            continue
        if layout == "auto_round:auto_awq":
            parts = [stored[f"{module_name}.{part}"] for part in ("qweight", "qzeros", "scales")]
            weights[f"{module_name}.weight"] = dequantize_gemm(*parts[:2], parts[2].float(), bits, 32).T
        else:
            product = module(torch.eye(module.infeatures))
            weights[f"{module_name}.weight"] = (product - module.bias).T
    write_reference(directory, weights, MADE_WITH)
