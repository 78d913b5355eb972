"""compressed-tensors "pack-quantized" checkpoints, made by llm-compressor.

torch==2.13.0 llmcompressor==0.14.0.1 compressed-tensors==0.19.0 transformers==5.17.0
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from base import ROOT, save_plain, write_reference
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from transformers import AutoModelForCausalLM

MADE_WITH = ", ".join(f"{n} {version(n)}" for n in ("llmcompressor", "compressed-tensors", "transformers", "torch"))

CASES = {
    "ct_4bit_sym_g32": {"num_bits": 4, "symmetric": True, "strategy": "group", "group_size": 32},
    "ct_4bit_asym_g32": {"num_bits": 4, "symmetric": False, "strategy": "group", "group_size": 32},
    "ct_8bit_channel": {"num_bits": 8, "symmetric": True, "strategy": "channel"},
    "ct_3bit_asym_g32": {"num_bits": 3, "symmetric": False, "strategy": "group", "group_size": 32},
}

for name, weights in CASES.items():
    directory = ROOT / name
    save_plain(directory, torch.bfloat16)
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights))
    recipe = [QuantizationModifier(config_groups={"group_0": scheme}, ignore=["lm_head"])]
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    oneshot(model=model, recipe=recipe)
    model.save_pretrained(directory, save_compressed=True)
    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    state = {n: w for n, w in loaded.state_dict().items() if n.endswith((".weight", ".bias"))}
    for module_name, module in loaded.named_modules():
        if hasattr(module, "weight_packed"):
            local = {n: t.detach() for n, t in (*module.named_parameters(), *module.named_buffers())}
            local["weight_scale"] = local["weight_scale"].float()
            scheme = module.quantization_scheme
            state[f"{module_name}.weight"] = PackedQuantizationCompressor.decompress(local, scheme)["weight"]
    (directory / "recipe.yaml").unlink()
    write_reference(directory, state, MADE_WITH)
