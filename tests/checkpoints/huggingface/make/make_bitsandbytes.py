"""bitsandbytes checkpoints: NF4 and FP4, with and without double quantisation, and LLM.int8(), all made on the CPU.

Weights are dequantised by the library's portable code: its AVX-512 kernel begins a block anew in each row, which its
quantiser and its CUDA kernels do not.
torch==2.13.0 transformers==5.24.0 bitsandbytes==0.50.2
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import bitsandbytes
import torch
from base import ROOT, save_plain, write_reference
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("bitsandbytes", "transformers", "torch"))
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
FP4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}
# Rows of 96 weights: a block of 64 goes on in the next row.
ODD = {"hidden_size": 96, "intermediate_size": 160, "head_dim": 24}

CASES = {
    "bnb_nf4": (NF4, {}),
    "bnb_nf4_double": ({**NF4, "bnb_4bit_use_double_quant": True}, ODD),
    "bnb_fp4": (FP4, ODD),
    "bnb_fp4_double_bf16": (
        {**FP4, "bnb_4bit_use_double_quant": True, "bnb_4bit_quant_storage": torch.bfloat16}, {}
    ),
    "bnb_int8": ({"load_in_8bit": True}, {}),
}  # fmt: skip


def dequantized(module: torch.nn.Module) -> torch.Tensor | None:
    """The library's own weights in float32, None of a layer that is not quantised."""
    weight = getattr(module, "weight", None)
    if isinstance(weight, bitsandbytes.nn.Params4bit):
        state = weight.quant_state
        scales = state.absmax.float()
        if state.nested:
            scales = bitsandbytes.functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
        packed = weight.data.view(torch.uint8).reshape(-1)
        return _dequantize_4bit_compute(packed, scales, state.code, state.blocksize, state.shape, torch.float32)
    if isinstance(weight, bitsandbytes.nn.Int8Params):
        scale = module.state.SCB if module.state.SCB is not None else weight.SCB
        return bitsandbytes.functional.int8_vectorwise_dequant(weight.data, scale)
    return None


for name, (settings, changes) in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory = ROOT / name
    save_plain(directory, torch.float16, **changes)
    config = BitsAndBytesConfig(**settings)
    model = AutoModelForCausalLM.from_pretrained(
        directory, quantization_config=config, dtype=torch.float16, device_map="cpu"
    )
    model.save_pretrained(directory)
    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float16, device_map="cpu")
    weights = {n: w for n, w in loaded.state_dict().items() if n.endswith((".weight", ".bias"))}
    for module_name, module in loaded.named_modules():
        found = dequantized(module)
        if found is not None:
            weights[f"{module_name}.weight"] = found
    write_reference(directory, weights, MADE_WITH, **changes)
