"""Gemma 3, Phi 3 and Mixtral as GPTQModel 7.7 writes them.

Gemma 3's rope_parameters have strings beside objects, Phi 3's q, k and v, and gate and up, come apart, and Mixtral's
experts are called as transformers 5 calls them. torch==2.13.0 gptqmodel==7.7.0; on machines of fewer than 4 cores with
GPTQMODEL_CPU_WORKERS=2
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from quantised import plain, write
from safetensors.torch import load_file

MODELS: dict[str, dict[str, Any]] = {
    "gemma3_text": {"head_dim": 32, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    "phi3": {},
    "mixtral": {"num_local_experts": 4},
}
torch.manual_seed(3)
TEXTS = [{"input_ids": torch.randint(0, 300, (64,)).tolist(), "attention_mask": [1] * 64} for _ in range(64)]


def usual(name: str) -> str:
    """A matrix by the name that transformers saves it by."""
    experts = re.sub(r"\.mlp\.experts\.", ".block_sparse_moe.experts.", name)
    for ours, theirs in (("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")):
        experts = experts.replace(f".{ours}", f".{theirs}") if ".experts." in experts else experts
    return experts


def dequantised(made: Path) -> dict[str, torch.Tensor]:
    """The weights of all quantised modules, by the library's own function; scales are not rounded to float16."""
    loaded = GPTQModel.load(str(made), device="cpu", backend=BACKEND.TORCH)
    stored, weights = load_file(made / "model.safetensors"), {}
    for name, module in loaded.model.named_modules():
        if hasattr(module, "qweight"):
            module.scales = stored[f"{name}.scales"].float()
            weights[f"{usual(name)}.weight"] = module.dequantize_weight().T.float()
    return weights


def joined(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Phi 3's matrices, where they came apart, in one again."""
    found = dict(weights)
    for parts, whole in ((("q_proj", "k_proj", "v_proj"), "qkv_proj"), (("gate_proj", "up_proj"), "gate_up_proj")):
        for name in list(found):
            if parts[0] in name:
                found[name.replace(parts[0], whole)] = torch.cat([found.pop(name.replace(parts[0], p)) for p in parts])
    return found


def main() -> None:
    for kind in sys.argv[1:] or MODELS:
        start, made = plain(kind, **MODELS[kind]), Path(tempfile.mkdtemp())
        config = QuantizeConfig(bits=4, group_size=32, desc_act=False, sym=True)
        model = GPTQModel.load(str(start), config, device="cpu", backend=BACKEND.TORCH)
        model.quantize(TEXTS, batch_size=8)
        model.save(str(made))
        weights = dequantised(made)
        write(f"{kind}_gptqmodel", made, start, joined(weights) if kind == "phi3" else weights)


if __name__ == "__main__":
    main()
