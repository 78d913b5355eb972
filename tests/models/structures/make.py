"""Writes small models of random weights here as transformers saves them: text models within others, and one bare.

``NAME.safetensors`` and ``NAME.json`` are model.safetensors (bfloat16) and config.json; ``logits.npz`` has the float32
logits of TOKENS, of text alone. Made with torch==2.13.0 and transformers==5.24.0:
``python tests/models/structures/make.py [NAME ...]``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

HERE = Path(__file__).parent
TOKENS = [(7 * i + 3) % 300 for i in range(80)]
KEPT = slice(7, None, 8)  # positions whose logits are written
TEXT: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.08,  # scores are then of the size that they have in trained models
    "bos_token_id": 300,
    "eos_token_id": 301,
    "pad_token_id": 301,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "out_hidden_size": 64, "num_heads": 2}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MROPE = {"rope_parameters": {**ROPE, "mrope_section": [2, 3, 3]}}
INTERLEAVED = {"rope_parameters": {**ROPE, "mrope_section": [3, 3, 2], "mrope_interleaved": True}}
DELTA_NET = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 1, "linear_num_value_heads": 2,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "rope_parameters": {**INTERLEAVED["rope_parameters"], "partial_rotary_factor": 1.0},
}  # fmt: skip
EXPERTS = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
}  # fmt: skip
GEMMA = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 16}
GEMMA4 = {
    "num_hidden_layers": 4, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": 320,
    "global_head_dim": 32, "pad_token_id": 0,
}  # fmt: skip
BY_POSITION = {
    "rope_type": "yarn",
    "factor": 16.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 1e4,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.3,
}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma3": (GEMMA, {**VISION, "model_type": "siglip_vision_model"}),
    "gemma4": (
        GEMMA4,
        {**VISION, "num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 16},
    ),
    "idefics3": ({"model_type": "llama"}, VISION),
    "llava": ({"model_type": "llama"}, {**VISION, "model_type": "clip_vision_model", "projection_dim": 32}),
    "mistral3": (
        {"model_type": "mistral", "sliding_window": None},
        {**VISION, "model_type": "pixtral", "head_dim": 16},
    ),
    "ministral3": (
        {"model_type": "ministral3", "rope_parameters": BY_POSITION},
        {**VISION, "model_type": "pixtral", "head_dim": 16},
    ),
    "muse_glimmer": (
        {"num_hidden_layers": 4, "sliding_window": 16, "num_key_value_heads": 1},
        {**VISION, "patch_size": 2, "pos_emb_height": 2, "pos_emb_width": 2},
    ),
    "qwen2_vl": (MROPE, {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 1}),
    "qwen2_5_vl": (MROPE, {**QWEN_VISION, "fullatt_block_indexes": [0]}),
    "qwen3_vl_moe": (
        {**INTERLEAVED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96},
        {**QWEN_VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    ),
    "qwen3_vl": (INTERLEAVED, {**QWEN_VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}),
    "qwen3_5": (DELTA_NET, {**QWEN_VISION, "num_position_embeddings": 16}),
    "qwen3_5_moe": ({**DELTA_NET, **EXPERTS}, {**QWEN_VISION, "num_position_embeddings": 16}),
}
# Of the whole model.
WHOLE: dict[str, dict[str, Any]] = {"muse_glimmer": {"out_hidden_size": 64, "projector_hidden_size": 32}}


def randomise(model: torch.nn.Module) -> None:
    """Norms that are not all ones, biases that are not all zeros, in bfloat16's values."""
    for name, values in model.named_parameters():
        if values.ndim == 1:
            centred = name.endswith("bias") or "gemma3" in type(model).__name__.lower()
            mean = -2.0 if name.endswith("A_log") else 0.0 if centred else 1.0  # A_log: a memory of some tokens
            if "Gemma4" in type(model).__name__ and name.endswith(("q_norm.weight", "k_norm.weight")):
                mean = 0.45  # scores are as large as these make them
            torch.nn.init.normal_(values, mean, 0.1)
        values.data = values.data.bfloat16().float()


def add_guessing_layer(file: Path) -> None:
    """A layer that guesses a further token, as Qwen's own files have one and transformers does not."""
    tensors = load_file(file)
    layer = {
        name.partition(".layers.1.")[2]: values for name, values in tensors.items() if ".layers.1.self_attn" in name
    }
    guessing = {f"mtp.layers.0.{name}": values.clone() for name, values in layer.items()}
    guessing["mtp.fc.weight"] = torch.zeros(64, 128, dtype=torch.bfloat16)
    save_file({**tensors, **guessing}, file, metadata={"format": "pt"})


def add_spare_keys(file: Path) -> None:
    """Keys and values of layers that read another's: checkpoints have them, and transformers reads over them."""
    tensors = load_file(file)
    front = "model.language_model.layers.{}.self_attn."
    spare = {}
    for name, values in tensors.items():
        for layer in (0, 1):
            part = name.removeprefix(front.format(layer))
            if part != name and part.startswith(("k_", "v_")):
                spare[front.format(layer + 2) + part] = values.clone()
    save_file({**tensors, **spare}, file, metadata={"format": "pt"})


def save(model: torch.nn.Module, name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        model.bfloat16().save_pretrained(directory)
        if name.startswith("qwen3_5"):
            add_guessing_layer(Path(directory) / "model.safetensors")
        if name == "gemma4":
            add_spare_keys(Path(directory) / "model.safetensors")
        (HERE / f"{name}.safetensors").write_bytes((Path(directory) / "model.safetensors").read_bytes())
        shutil.copy(Path(directory) / "config.json", HERE / f"{name}.json")


def wrapped(name: str) -> np.ndarray:
    kind = {"ministral3": "mistral3"}.get(name, name)
    text, vision = MODELS[name]
    config = AutoConfig.for_model(kind, text_config={**TEXT, **text}, vision_config=vision, **WHOLE.get(name, {}))
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager").float().eval()
    randomise(model)
    with torch.no_grad():
        found = model(input_ids=torch.tensor([TOKENS])).logits[0].numpy()
    save(model, name)
    return found


def bare() -> np.ndarray:
    """Saved without a head, as embedding models are; logits with its embedding as head."""
    config = AutoConfig.for_model("qwen3", **TEXT, tie_word_embeddings=True)
    model = AutoModel.from_config(config, attn_implementation="eager").float().eval()
    randomise(model)
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor([TOKENS])).last_hidden_state[0]
        found = (hidden @ model.embed_tokens.weight.T).numpy()
    save(model, "qwen3_bare")
    return found


def main() -> None:
    found = dict(np.load(HERE / "logits.npz")) if sys.argv[1:] else {}
    for kind in sys.argv[1:] or (*MODELS, "qwen3_bare"):
        torch.manual_seed(0)
        made = bare() if kind == "qwen3_bare" else wrapped(kind)
        print(f"{kind}: logits of deviation {made.std():.3f}")
        found[kind] = made[KEPT]
    np.savez_compressed(HERE / "logits.npz", **{**found, "tokens": np.array(TOKENS)})


if __name__ == "__main__":
    main()
