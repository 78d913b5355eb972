"""AutoRound checkpoints of floats, some in compressed-tensors' layout, rounding to nearest (no tuning steps).

Its schemes would quantise activations too, which the reference does not.
torch==2.13.0 auto-round==0.16.1 transformers==5.24.0
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version

import torch
from auto_round import AutoRound
from auto_round.experimental.qmodules.fp4_utils import unpack_fp4_from_uint8
from auto_round.utils.model_free_utils import dequant_mxfp4
from base import ROOT, TOKENS, save_plain, write_reference, write_tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight

MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("auto-round", "transformers", "torch"))


def dequantized(stored: dict[str, torch.Tensor], module: str) -> torch.Tensor:
    if f"{module}.weight_scale_inv" in stored:
        return _dequantize_fp8_weight(
            stored[f"{module}.weight"], stored[f"{module}.weight_scale_inv"], [128, 128], torch.float32
        )
    packed, scale = stored[f"{module}.weight_packed"], stored[f"{module}.weight_scale"]
    total = stored.get(f"{module}.weight_global_scale")
    if total is None:
        return dequant_mxfp4(packed, scale, "fp4_e2m1", 32, torch.float32)
    codes = unpack_fp4_from_uint8(packed, packed.shape[0], 2 * packed.shape[1], dtype=torch.float32)
    return codes * (scale.float() / total).repeat_interleave(16, 1)


BLOCKS = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
CASES = {
    "auto_round_mxfp4": ("MXFP4", {}),
    "auto_round_nvfp4": ("NVFP4", {}),
    "auto_round_fp8_block": ("FP8_BLOCK", BLOCKS),
}

for name, (scheme, changes) in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory = ROOT / name
    save_plain(directory, torch.bfloat16, **changes)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    texts = [tokenizer.decode(TOKENS * 8)] * 8  # of which the scales of activations are made
    rounder = AutoRound(
        model,
        tokenizer,
        scheme=scheme,
        iters=0,
        disable_opt_rtn=True,
        dataset=texts,
        seqlen=32,
        nsamples=4,
        device="cpu",
    )
    shutil.rmtree(directory)
    rounder.quantize_and_save(str(directory), format="auto_round")
    for path in directory.glob("*/*"):  # it writes into a folder named after the scheme
        path.rename(directory / path.name)
    for folder in [path for path in directory.iterdir() if path.is_dir()]:
        folder.rmdir()
    write_tokenizer(directory)
    stored = load_file(directory / "model.safetensors")
    weights = {n: w for n, w in stored.items() if n.endswith((".weight", ".bias"))}
    for key in stored:
        module, _, part = key.rpartition(".")
        if part in ("weight_packed", "weight_scale_inv"):
            weights[f"{module}.weight"] = dequantized(stored, module)
    write_reference(directory, weights, MADE_WITH, **changes)
