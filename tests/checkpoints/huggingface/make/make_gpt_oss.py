"""A tiny gpt-oss whose experts are MXFP4, as OpenAI's checkpoints have them.

transformers' quantiser needs a GPU: the 4-bit codes and the powers of two here are random, which any file might hold.
transformers reads them (`convert_moe_packed_tensors`) and computes the logits, in float32.
torch==2.13.0 transformers==5.24.0
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version

import numpy as np
import torch
from base import ROOT, TOKENS, write_tokenizer
from safetensors.torch import save_file
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

MADE_WITH = f"transformers {version('transformers')}, torch {torch.__version__}"
EXPERTS = "mlp.experts."

torch.manual_seed(5)
config = GptOssConfig(
    vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
    max_position_embeddings=256, bos_token_id=300, eos_token_id=301, pad_token_id=None,
)  # fmt: skip
model = GptOssForCausalLM(config).float().eval()
for key, parameter in model.named_parameters():
    center = 1.0 if "norm" in key else 0.0
    parameter.data = (center + 0.1 * torch.randn_like(parameter)).bfloat16().float()

directory = ROOT / "gpt_oss_mxfp4"
shutil.rmtree(directory, ignore_errors=True)
model.bfloat16().save_pretrained(directory)
model.float()
write_tokenizer(directory)
tensors, reference = {}, {}
for key, value in model.state_dict().items():
    if not key.endswith(("experts.gate_up_proj", "experts.down_proj")):
        tensors[key] = value.bfloat16().contiguous()
        continue
    experts, columns, rows = value.shape
    blocks = torch.randint(0, 256, (experts, rows, columns // 32, 16), dtype=torch.uint8)
    scales = torch.randint(120, 125, (experts, rows, columns // 32), dtype=torch.uint8)
    tensors |= {f"{key}_blocks": blocks, f"{key}_scales": scales}
    exact = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    model.get_parameter(key).data = exact
    if "layers.1." in key:
        reference[key] = exact.transpose(1, 2).numpy()  # [experts, rows, columns]
save_file(tensors, directory / "model.safetensors", {"format": "pt"})
stored = json.loads((directory / "config.json").read_text())
stored["quantization_config"] = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ],
}
(directory / "config.json").write_text(json.dumps(stored, indent=1))
with torch.no_grad():
    logits = model(torch.tensor([TOKENS])).logits[0].numpy()
np.savez_compressed(directory / "reference.npz", tokens=np.array(TOKENS), logits=logits, **reference)
(directory / "made_with.json").write_text(json.dumps({"made_with": MADE_WITH}, indent=1) + "\n")
