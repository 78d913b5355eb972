"""Plain floats, as transformers 5.23 writes them: BF16, FP16, FP32 (tied), and FP16 in shards with an index.

torch==2.13.0 transformers==5.23.0 safetensors==0.8.0
"""

from __future__ import annotations

import torch
import transformers
from base import ROOT, save_plain, write_reference

MADE_WITH = f"transformers {transformers.__version__}, torch {torch.__version__}"

for name, dtype, changes in (
    ("bf16", torch.bfloat16, {}),
    ("fp16", torch.float16, {}),
    ("fp32_tied", torch.float32, {"tie_word_embeddings": True, "num_hidden_layers": 2, "intermediate_size": 64}),
):
    model = save_plain(ROOT / name, dtype, **changes)
    write_reference(ROOT / name, dict(model.state_dict()), MADE_WITH, **changes)

model = save_plain(ROOT / "fp16_shards")
for path in (ROOT / "fp16_shards").glob("*.safetensors"):
    path.unlink()
model.save_pretrained(ROOT / "fp16_shards", max_shard_size="100KB")
write_reference(ROOT / "fp16_shards", dict(model.state_dict()), MADE_WITH)
