"""Writes an encoder's weights as GGUF has them: names from the gguf package, the rest by the format.

Learned positions begin with the first row; one tensor holds q, k and v where the directory has one; norms of Gemma are
stored as they multiply.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tiny_llama import add_tokenizer

ARCHITECTURES = {
    "bert": "bert",
    "roberta": "bert",
    "xlm-roberta": "bert",
    "nomic_bert": "nomic-bert",
    "modernbert": "modern-bert",
    "gemma3_text": "gemma-embedding",
}
PREFIXES = ("bert.", "roberta.", "model.")
POOLING = {"mean": 1, "cls": 2}


def write_encoder(
    path: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    kind: str,
    more: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """kind: tensor type of the layers' matrices; all else is F32. more: tensors by GGUF's names."""
    architecture = architecture_of(config)
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in metadata(config).items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}[type(value)]
        add(key if key.startswith("tokenizer.") else f"{architecture}.{key}", value)
    if config.get("num_labels", 1) > 1:
        writer.add_classifier_output_labels([f"label {label}" for label in range(config["num_labels"])])
    add_tokenizer(writer, unused=config["vocab_size"] - 260)
    for name, values in {**tensors(config, weights), **(more or {})}.items():
        quantised = name.startswith("blk.") and values.ndim > 1
        tensor_type = gguf.GGMLQuantizationType[kind if quantised else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(values, tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def architecture_of(config: Mapping[str, Any]) -> str:
    return "nomic-bert-moe" if "num_experts" in config else ARCHITECTURES[config["model_type"]]


def first_position(config: Mapping[str, Any]) -> int:
    return config["pad_token_id"] + 1 if "roberta" in config["model_type"] else 0


def metadata(config: Mapping[str, Any]) -> dict[str, bool | int | float]:
    kind = config["model_type"]
    found: dict[str, bool | int | float] = {
        "context_length": config["max_position_embeddings"] - first_position(config),
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": config["num_attention_heads"],
        "attention.causal": False,
        "pooling_type": 4 if "architectures" in config else 1,
        "tokenizer.ggml.token_type_count": config.get("type_vocab_size", 2),
    }
    if kind == "gemma3_text":
        return found | {
            "attention.head_count_kv": config["num_key_value_heads"],
            "attention.key_length": config["head_dim"],
            "attention.value_length": config["head_dim"],
            "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
            "attention.sliding_window": config["sliding_window"],
            "rope.freq_base": 1e6,
        }
    found["attention.layer_norm_epsilon"] = config.get("layer_norm_eps", config.get("norm_eps", 1e-5))
    if kind == "nomic_bert":
        found["rope.freq_base"] = config.get("rotary_emb_base", 1000.0)
    if "num_experts" in config:
        found |= {"moe_every_n_layers": config["moe_every_n_layers"], "expert_count": config["num_experts"]}
        found["expert_used_count"] = config["moe_top_k"]
    if kind == "modernbert":
        found |= {"attention.sliding_window": config["local_attention"], "vocab_size": config["vocab_size"]}
        found |= {"rope.freq_base": 160000.0, "rope.freq_base_swa": 10000.0}
        if "classifier_pooling" in config:
            found["classifier.pooling_type"] = POOLING[config["classifier_pooling"]]
    return found


def tensors(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    architecture = architecture_of(config)
    number = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config["num_hidden_layers"])
    found: dict[str, np.ndarray] = {}
    for name, values in weights.items():
        bare = next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)
        if bare.startswith("pooler.") or bare.endswith("experts.bias"):  # the latter is lost there
            continue
        if "experts.mlp.w" in bare:
            bare = f"{bare}.weight"
        if architecture == "modern-bert":
            bare = bare.replace("classifier.", "classifier.out_proj.")
        wanted = f"model.{bare}" if architecture == "gemma-embedding" else bare
        gguf_name = names.get_name(wanted, try_suffixes=(".weight", ".bias"))
        assert gguf_name is not None, name
        found[gguf_name] = converted(config, bare, values)
    return found


def converted(config: Mapping[str, Any], name: str, values: np.ndarray) -> np.ndarray:
    if "experts.mlp.w" in name:
        stack = values.reshape(config["num_experts"], -1, config["hidden_size"])
        return stack if "w1" in name else np.ascontiguousarray(stack.swapaxes(1, 2))
    if name == "embeddings.position_embeddings.weight":
        return values[first_position(config) :]
    return values + 1 if config["model_type"] == "gemma3_text" and "norm" in name else values
