"""Writes references.npz and shapes.json: logits of transformers in float32 for every case, and what its files hold.

Made with torch==2.13.0 and transformers==5.23.0: ``pip install torch transformers``, then
``TORCHDYNAMO_DISABLE=1 python tests/models/architectures/make_references.py [CASE ...]``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from cases import CASES, KEPT, TOKENS, Case
from random_weights import random_weights, write_checkpoint
from safetensors import safe_open
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM
from transformers.masking_utils import eager_mask
from transformers.models.llama.modeling_llama import eager_attention_forward

HERE = Path(__file__).parent


def half_cache_attention(module, q, k, v, *arguments, **options):
    return eager_attention_forward(module, q, k.half().float(), v.half().float(), *arguments, **options)


AttentionInterface.register("half_cache", half_cache_attention)
AttentionMaskInterface.register("half_cache", eager_mask)


def oracle_config(case: Case) -> dict[str, object]:
    config = {**case.config, **case.oracle}
    return {key: value for key, value in config.items() if value is not ...}


def stored_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Names and shapes as transformers saves them."""
    config = {key: value for key, value in oracle_config(case).items() if key != "quantization_config"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        with safe_open(Path(directory) / "model.safetensors", "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def renamed(case: Case, name: str) -> str:
    for theirs, ours in case.renamed.items():
        name = name.replace(theirs, ours)
    return name


def logits(case: Case, shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    ours = random_weights(case.config, {renamed(case, name): shape for name, shape in shapes.items()})
    with tempfile.TemporaryDirectory() as directory:
        config = oracle_config(case)
        write_checkpoint(Path(directory), config, {name: ours[renamed(case, name)] for name in shapes})
        attention = "half_cache" if case.half_cache else "eager"
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation=attention)
        with torch.no_grad():
            return model(torch.tensor([TOKENS[: case.tokens]])).logits[0].numpy()


def main() -> None:
    shapes_file, logits_file = HERE / "shapes.json", HERE / "references.npz"
    all_shapes = json.loads(shapes_file.read_text()) if shapes_file.exists() else {}
    all_logits = dict(np.load(logits_file)) if logits_file.exists() else {}
    for name in sys.argv[1:] or CASES:
        shapes = stored_shapes(CASES[name])
        found = logits(CASES[name], shapes)
        all_shapes[name] = {renamed(CASES[name], tensor): shape for tensor, shape in shapes.items()}
        all_logits[name] = found[KEPT]
        print(f"{name}: logits of mean {found.mean():.3f} and deviation {found.std():.3f}")
    made = [name for name in CASES if name in all_shapes]
    shapes_file.write_text(json.dumps({name: all_shapes[name] for name in made}, separators=(",", ":")) + "\n")
    np.savez_compressed(logits_file, **{name: all_logits[name] for name in made})


if __name__ == "__main__":
    main()
