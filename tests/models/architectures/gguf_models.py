"""Writes a Hugging Face model's weights as GGUF has them: names from the gguf package, the rest by the format.

Llama, Granite and SmolLM3 have the rows of q and k in the order of rope that pairs neighbours; norms of Gemma are
stored as they multiply; the experts of a layer are one tensor; factors of rope that the configuration has are tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log, pi, sqrt
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tiny_llama import add_tokenizer

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "smollm3": "smollm3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "bitnet": "bitnet",
    "olmo2": "olmo2",
    "olmo3": "olmo2",
    "granite": "granite",
}
NEIGHBOURS = {"llama", "smollm3", "granite"}
EXPERTS = {"w1": "gate", "w3": "up", "w2": "down", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
KEYS = {  # Hugging Face's to GGUF's
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "rope_local_base_freq": "rope.freq_base_swa",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "num_local_experts": "expert_count",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "embedding_multiplier": "embedding_scale",
    "attention_multiplier": "attention.scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
}
INTEGERS = {"sliding_window", *list(KEYS)[:6], "num_local_experts", "num_experts", "num_experts_per_tok"}
INTEGERS |= {"moe_intermediate_size"}


def write_gguf(path: Path, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], kind: str) -> None:
    """kind: tensor type of the layers' matrices; all else is F32."""
    architecture = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in metadata(config).items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        add(f"{architecture}.{key}", value)
    add_tokenizer(writer, unused=config["vocab_size"] - 260)
    for name, values in tensors(config, weights).items():
        matrix = name.startswith("blk.") and values.ndim > 1 and "_inp" not in name
        tensor_type = gguf.GGMLQuantizationType[kind if matrix else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(values, tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def head_dim(config: Mapping[str, Any]) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def metadata(config: Mapping[str, Any]) -> dict[str, int | float | str]:
    found: dict[str, int | float | str] = {}
    for key, ours in KEYS.items():
        if config.get(key) is not None:
            found[ours] = int(config[key]) if key in INTEGERS else float(config[key])
    found["vocab_size"] = config["vocab_size"]
    found["attention.key_length"] = found["attention.value_length"] = head_dim(config)
    found["rope.dimension_count"] = int(head_dim(config) * config.get("partial_rotary_factor", 1.0))
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    original = config.get("original_max_position_embeddings", scaling.get("original_max_position_embeddings"))
    if kind in ("linear", "yarn"):
        found |= {"rope.scaling.type": kind, "rope.scaling.factor": scaling["factor"]}
    if kind in ("yarn", "longrope"):
        found["rope.scaling.original_context_length"] = original
    if kind == "longrope":
        factor = config["max_position_embeddings"] / original
        found["rope.scaling.attn_factor"] = sqrt(1 + log(factor) / log(original))
    return found


def tensors(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    architecture = ARCHITECTURES[config["model_type"]]
    arch = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    found: dict[str, np.ndarray] = {}
    stacks: dict[str, list[np.ndarray]] = {}
    for name, values in weights.items():
        older = name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm")
        if ".experts." in name:
            _, _, layer, *_, matrix, _ = name.split(".")
            stacks.setdefault(f"blk.{layer}.ffn_{EXPERTS[matrix]}_exps.weight", []).append(values)
            continue
        gguf_name = names.get_name(older, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:  # of BitNet's, which are tied more often than not
            assert name == "lm_head.weight"
            gguf_name = "output.weight"
        found[gguf_name] = converted(config, name, values)
    found |= {name: np.stack(matrices) for name, matrices in stacks.items()}
    return found | rope_tensors(config)


def converted(config: Mapping[str, Any], name: str, values: np.ndarray) -> np.ndarray:
    model_type = config["model_type"]
    if "norm" in name and model_type.startswith("gemma"):
        return values + 1
    if ARCHITECTURES[model_type] in NEIGHBOURS and (".q_proj." in name or ".k_proj." in name):
        halves = values.reshape(-1, 2, head_dim(config) // 2, *values.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
    if model_type == "bitnet" and "_proj.weight" in name:
        mean = np.abs(values).mean()
        return np.asarray(np.clip(np.rint(values / mean), -1, 1) * mean, np.float32)
    return values


def rope_tensors(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    scaling = config.get("rope_scaling") or {}
    if "long_factor" in scaling:
        return {f"rope_factors_{n}.weight": np.array(scaling[f"{n}_factor"], np.float32) for n in ("long", "short")}
    if scaling.get("rope_type") != "llama3":
        return {}
    dim, original = head_dim(config), scaling["original_max_position_embeddings"]
    turns = original * config["rope_theta"] ** (-np.arange(0, dim, 2) / dim) / (2 * pi)
    kept = np.clip(
        (turns - scaling["low_freq_factor"]) / (scaling["high_freq_factor"] - scaling["low_freq_factor"]), 0, 1
    )
    return {"rope_freqs.weight": np.asarray(1 / (kept + (1 - kept) / scaling["factor"]), np.float32)}
