"""HQQ checkpoints, each layer quantised and written by `hqq` itself; transformers' own saving of them has changed.

torch==2.13.0 transformers==5.23.0 hqq==0.2.8.post1
"""

from __future__ import annotations

import json
from importlib.metadata import version

import torch
from base import ROOT, save_plain, write_reference
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from safetensors.torch import save_file

MADE_WITH = f"hqq {version('hqq')}, transformers {version('transformers')}, torch {torch.__version__}"

for bits, group_size, axis in ((4, 32, 1), (3, 32, 1), (2, 16, 1), (8, 64, 1), (1, 32, 1), (4, 32, 0)):
    directory = ROOT / (f"hqq_{bits}bit_g{group_size}" if axis == 1 else "hqq_axis0")
    model = save_plain(directory)
    config = BaseQuantizeConfig(nbits=bits, group_size=group_size, axis=axis)
    tensors, weights = {}, dict(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            layer = HQQLinear(module, config, compute_dtype=torch.float16, device="cpu", del_orig=False)
            tensors.update({f"{name}.{key}": value for key, value in layer.state_dict().items()})
            layer.meta = {k: v.float() if k in ("scale", "zero") else v for k, v in layer.meta.items()}
            layer.compute_dtype = torch.float32
            weights[f"{name}.weight"] = layer.dequantize().float()
    quantised = {name.rsplit(".", 1)[0] for name in tensors}
    for name, value in model.state_dict().items():
        if name.rsplit(".", 1)[0] not in quantised:
            tensors[name] = value
    save_file({n: t.detach().contiguous().clone() for n, t in tensors.items()}, directory / "model.safetensors")
    stored = json.loads((directory / "config.json").read_text())
    stored["quantization_config"] = {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"]}
    (directory / "config.json").write_text(json.dumps(stored, indent=1))
    if axis == 0:
        (directory / "generation_config.json").unlink()
    write_reference(directory, weights, MADE_WITH)
