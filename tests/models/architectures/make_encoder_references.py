"""Writes encoder_references.npz and encoder_shapes.json: what transformers makes in float32 for every encoder's case.

Made with torch==2.13.0 and transformers==5.24.0: ``pip install torch transformers``, then
``TORCHDYNAMO_DISABLE=1 python tests/models/architectures/make_encoder_references.py [CASE ...]``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from encoder_cases import CASES, KEPT, SECOND, TOKENS, EncoderCase
from nomic_mixture import nomic_mixture
from random_weights import random_weights, write_checkpoint
from safetensors import safe_open
from transformers import AutoConfig, AutoModel

HERE = Path(__file__).parent


def stored_shapes(case: EncoderCase) -> dict[str, tuple[int, ...]]:
    """Names and shapes as transformers saves them."""
    if "num_experts" in case.config:
        return mixture_shapes(case)
    config = AutoConfig.for_model(**case.config)
    model = getattr(transformers, case.head)(config) if case.head else AutoModel.from_config(config)
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        with safe_open(Path(directory) / "model.safetensors", "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def mixture_shapes(case: EncoderCase) -> dict[str, tuple[int, ...]]:
    """As the repository of nomic-embed-text-v2-moe has them."""
    config = case.config
    hidden, inner, experts = (config[key] for key in ("hidden_size", "intermediate_size", "num_experts"))
    found = {"emb_ln.weight": (hidden,), "emb_ln.bias": (hidden,)}
    found["embeddings.word_embeddings.weight"] = (config["vocab_size"], hidden)
    found["embeddings.token_type_embeddings.weight"] = (1, hidden)
    for layer in range(config["num_hidden_layers"]):
        parts = {
            "attn.Wqkv": (3 * hidden, hidden),
            "attn.out_proj": (hidden, hidden),
            "norm1": (hidden,),
            "norm2": (hidden,),
        }
        if layer % config["moe_every_n_layers"] == 1:
            stacks = {f"experts.mlp.w{i}": (experts * inner, hidden) for i in (1, 2)}
            more = {**stacks, "router.layer.weight": (experts, hidden), "experts.bias": (hidden,)}
            found |= {f"encoder.layers.{layer}.mlp.{name}": shape for name, shape in more.items()}
        else:
            parts |= {"mlp.fc1": (inner, hidden), "mlp.fc2": (hidden, inner)}
        for name, shape in parts.items():
            found[f"encoder.layers.{layer}.{name}.weight"] = shape
            found[f"encoder.layers.{layer}.{name}.bias"] = shape[:1]
    return found


def run(case: EncoderCase, shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), case.config, random_weights(case.config, shapes))
        kind = getattr(transformers, case.head) if case.head else AutoModel
        if "num_experts" in case.config:
            model = nomic_mixture(case.config, random_weights(case.config, shapes))
        else:
            model = kind.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
        tokens = TOKENS[: case.tokens]
        given = {"input_ids": torch.tensor([tokens]), "attention_mask": torch.ones(1, len(tokens), dtype=torch.long)}
        if case.pair:
            given["token_type_ids"] = torch.tensor([[int(place >= SECOND) for place in range(len(tokens))]])
        with torch.no_grad():
            found = model(**given)
        return found.logits[0].numpy() if case.head else found.last_hidden_state[0].numpy()[KEPT]


def main() -> None:
    shapes_file, values_file = HERE / "encoder_shapes.json", HERE / "encoder_references.npz"
    shapes = json.loads(shapes_file.read_text()) if shapes_file.exists() else {}
    values = dict(np.load(values_file)) if values_file.exists() else {}
    for name in sys.argv[1:] or CASES:
        shapes[name] = stored_shapes(CASES[name])
        values[name] = run(CASES[name], shapes[name])
        print(f"{name}: mean {values[name].mean():.3f} and deviation {values[name].std():.3f}")
    made = [name for name in CASES if name in shapes]
    shapes_file.write_text(json.dumps({name: shapes[name] for name in made}, separators=(",", ":")) + "\n")
    np.savez_compressed(values_file, **{name: values[name] for name in made})


if __name__ == "__main__":
    main()
