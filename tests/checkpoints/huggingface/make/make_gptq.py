"""GPTQ checkpoints made by GPTQModel: bits, activation order, symmetric or not, both conventions of zero points.

torch==2.13.0 gptqmodel==7.7.0; on machines of fewer than 4 cores with GPTQMODEL_CPU_WORKERS=2
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from base import ROOT, save_plain, write_reference, write_tokenizer
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from safetensors.torch import load_file

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("gptqmodel", "transformers", "torch"))
torch.manual_seed(3)
TEXTS = [{"input_ids": torch.randint(0, 300, (64,)).tolist(), "attention_mask": [1] * 64} for _ in range(64)]

for name, bits, desc_act, symmetric, convention in (
    ("gptq_4bit_sym", 4, False, True, "gptq"),
    ("gptq_4bit_act_order", 4, True, True, "gptq"),
    ("gptq_4bit_asym_v2", 4, False, False, "gptq_v2"),
    ("gptq_3bit_act_order_v2", 3, True, False, "gptq_v2"),
    ("gptq_2bit_asym", 2, False, False, "gptq"),
    ("gptq_8bit_act_order", 8, True, False, "gptq"),
):
    directory = ROOT / name
    plain = Path(tempfile.mkdtemp())
    save_plain(plain)
    config = QuantizeConfig(bits=bits, group_size=32, desc_act=desc_act, sym=symmetric, format=convention)
    model = GPTQModel.load(str(plain), config, device="cpu", backend=BACKEND.TORCH)
    model.quantize(TEXTS, batch_size=8)
    shutil.rmtree(directory, ignore_errors=True)
    model.save(str(directory))
    write_tokenizer(directory)
    loaded = GPTQModel.load(str(directory), device="cpu", backend=BACKEND.TORCH)
    weights = {n: w for n, w in loaded.model.state_dict().items() if n.endswith((".weight", ".bias"))}
    stored = load_file(directory / "model.safetensors")
    for module_name, module in loaded.model.named_modules():
        if hasattr(module, "qweight"):
            module.scales = stored[f"{module_name}.scales"].float()  # loading rounded them to the model's type
            weights[f"{module_name}.weight"] = module.dequantize_weight().T.float()
    write_reference(directory, weights, MADE_WITH)
