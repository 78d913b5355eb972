"""Mixtral as llm-compressor writes it: experts that are called gate_proj, up_proj and down_proj.

torch==2.13.0 llmcompressor==0.14.0.1 compressed-tensors==0.19.0 transformers==5.17.0
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from quantised import plain, write
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

SCHEME = QuantizationScheme(
    targets=["Linear"], weights=QuantizationArgs(num_bits=4, symmetric=True, strategy="group", group_size=32)
)
NAMES = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}


def main() -> None:
    start, made = plain("mixtral", num_local_experts=4), Path(tempfile.mkdtemp())
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16)
    oneshot(
        model=model, recipe=[QuantizationModifier(config_groups={"group_0": SCHEME}, ignore=["lm_head", "re:.*gate$"])]
    )
    model.save_pretrained(made, save_compressed=True)
    stored, weights = load_file(made / "model.safetensors"), {}
    for name in stored:
        if name.endswith(".weight_packed"):
            module = name.removesuffix(".weight_packed")
            parts = {part: stored[f"{module}.{part}"] for part in ("weight_packed", "weight_shape")}
            parts["weight_scale"] = stored[f"{module}.weight_scale"].float()
            *front, last = module.split(".")
            usual = ".".join([*front, NAMES[last] if "experts" in module else last])
            weights[f"{usual}.weight"] = PackedQuantizationCompressor.decompress(parts, SCHEME)["weight"]
    write("mixtral_llmcompressor", made, start, weights)


if __name__ == "__main__":
    main()
