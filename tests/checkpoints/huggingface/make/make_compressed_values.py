"""compressed-tensors checkpoints of 8-bit integers and of floats of 8 and 4 bits, made by llm-compressor.

Activations are never quantised in the reference, whatever the schemes would do to them.
torch==2.13.0 llmcompressor==0.14.0.1 compressed-tensors==0.20.1 transformers==5.24.0
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import torch
from base import ROOT, save_plain, write_reference
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, preset_name_to_scheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

MADE_WITH = ", ".join(f"{n} {version(n)}" for n in ("llmcompressor", "compressed-tensors", "transformers", "torch"))
TOKENWISE = {"num_bits": 8, "strategy": "token", "dynamic": True}
FLOAT8 = {"num_bits": 8, "type": "float"}
# One block and a part of another: weights of 192 columns, or rows.
BLOCKS = {"hidden_size": 128, "intermediate_size": 192, "head_dim": 32}


def scheme(**weights: object) -> QuantizationScheme:
    """Weights as given; inputs a token at a time, by which llm-compressor chooses a format that is not packed."""
    inputs = QuantizationArgs(**TOKENWISE, type=weights.get("type", "int"))
    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights), input_activations=inputs)


def preset(name: str) -> QuantizationScheme:
    return preset_name_to_scheme(name, ["Linear"])


CASES = {
    "ct_int8_channel": (scheme(num_bits=8, strategy="channel"), torch.float16, {}),
    "ct_int8_channel_asym": (scheme(num_bits=8, strategy="channel", symmetric=False), torch.bfloat16, {}),
    "ct_int8_tensor": (scheme(num_bits=8, strategy="tensor"), torch.float16, {}),
    "ct_int4_group": (scheme(num_bits=4, strategy="group", group_size=32), torch.float16, {}),
    "ct_fp8_tensor": (scheme(**FLOAT8, strategy="tensor"), torch.bfloat16, {}),
    "ct_fp8_channel": (scheme(**FLOAT8, strategy="channel"), torch.bfloat16, {}),
    "ct_fp8_group": (scheme(**FLOAT8, strategy="group", group_size=32), torch.float16, {}),
    "ct_fp8_block": (scheme(**FLOAT8, strategy="block", block_structure=[128, 128]), torch.bfloat16, BLOCKS),
    "ct_nvfp4": (preset("NVFP4A16"), torch.bfloat16, {}),
    "ct_mxfp4": (preset("MXFP4A16"), torch.bfloat16, {}),
    "ct_mxfp8": (preset("MXFP8A16"), torch.bfloat16, {}),
}


def dequantized(stored: dict[str, torch.Tensor], module_name: str, found: QuantizationScheme) -> torch.Tensor:
    """The library's own weights, with scales in float32."""
    prefix = f"{module_name}."
    local = {n.removeprefix(prefix): t for n, t in stored.items() if n.startswith(prefix) and n != f"{prefix}bias"}
    if "weight_global_scale" in local:  # `decompress` would round to bfloat16
        rows, half = local["weight_packed"].shape
        codes = unpack_fp4_from_uint8(local["weight_packed"], rows, 2 * half, dtype=torch.float32)
        scale, total = local["weight_scale"].float(), local["weight_global_scale"]
        return dequantize(x_q=codes, scale=scale, args=found.weights, global_scale=total)
    if local["weight_scale"].dtype in (torch.float16, torch.bfloat16):
        local["weight_scale"] = local["weight_scale"].float()
    compressor = BaseCompressor.get_value_from_registry(found.format)
    return compressor.decompress(local, found)["weight"].float()


for name, (chosen, dtype, changes) in CASES.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    directory = ROOT / name
    save_plain(directory, dtype, **changes)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    oneshot(model=model, recipe=[QuantizationModifier(config_groups={"group_0": chosen}, ignore=["lm_head"])])
    schemes = {n: m.quantization_scheme for n, m in model.named_modules() if hasattr(m, "quantization_scheme")}
    model.save_pretrained(directory, save_compressed=True)
    stored = load_file(directory / "model.safetensors")
    state = {n: w for n, w in stored.items() if n.endswith((".weight", ".bias"))}
    for module_name, found in schemes.items():
        state[f"{module_name}.weight"] = dequantized(stored, module_name, found)
    (directory / "recipe.yaml").unlink()
    write_reference(directory, state, MADE_WITH, **changes)
