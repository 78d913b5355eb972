"""``quant_method`` "fp8" checkpoints: blocks as DeepSeek V3 and Qwen3-FP8 have them, one scale, powers of two.

transformers quantises on a GPU only, so that its quantiser (`Fp8Quantize`) is called by hand here, which runs anywhere;
a matrix that ends within a block is filled up with zeros for it. It dequantises (`_dequantize_fp8_weight`) in float32.
torch==2.13.0 transformers==5.24.0
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from types import SimpleNamespace

import torch
from base import ROOT, save_plain, write_reference
from safetensors.torch import save_file
from torch.nn.functional import pad
from transformers import FineGrainedFP8Config
from transformers.integrations.finegrained_fp8 import Fp8Quantize, _dequantize_fp8_weight

MADE_WITH = f"transformers {version('transformers')}, torch {torch.__version__}"

CASES = {
    "fp8_block": ({"weight_block_size": (128, 128)}, {"intermediate_size": 192}),
    "fp8_block_ue8m0": ({"weight_block_size": (32, 64), "scale_fmt": "ue8m0"}, {}),
    "fp8_tensor": ({"weight_block_size": None, "activation_scheme": "static"}, {}),
}

for name, (settings, changes) in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory = ROOT / name
    model = save_plain(directory, torch.bfloat16, **changes)
    config = FineGrainedFP8Config(**settings)
    quantise = Fp8Quantize(SimpleNamespace(quantization_config=config))
    tensors, reference = {}, dict(model.state_dict())
    for key, value in model.state_dict().items():
        if not key.endswith("_proj.weight"):
            tensors[key] = value.contiguous()
            continue
        rows, columns = value.shape
        block = config.weight_block_size
        padded = pad(value, (0, -columns % block[1], 0, -rows % block[0])) if block else value
        made = quantise.convert({key: padded})
        weight, scale = made[key][:rows, :columns].contiguous(), made[f"{key}_scale_inv"]
        if block is None:
            scale = scale.reshape(()).bfloat16()  # as Mistral's FP8 checkpoints have it
            tensors[f"{key.removesuffix('.weight')}.activation_scale"] = torch.tensor(0.02, dtype=torch.bfloat16)
        tensors |= {key: weight, f"{key}_scale_inv": scale}
        reference[key] = _dequantize_fp8_weight(weight, scale, block, torch.float32)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    stored = json.loads((directory / "config.json").read_text())
    stored["quantization_config"] = config.to_dict()
    (directory / "config.json").write_text(json.dumps(stored, indent=1))
    write_reference(directory, reference, MADE_WITH, **changes)
