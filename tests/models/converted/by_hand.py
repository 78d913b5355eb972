"""Writes GGUF files of families that the gguf package does not know yet, by the names of llama.cpp's source.

Most are transformers' models, whose logits are the reference; maple and bailingmoe2, which it has not, have llama.cpp's
own. llama.cpp runs all of them. Made with torch==2.13.0,
transformers==5.24.0, gguf==0.19.0 and llama-cpp-python==0.3.36:
``python tests/models/converted/by_hand.py [NAME ...]``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[2]))
import latent_models
from make import HERE, KEPT, TOKENS, logits_of_llama_cpp
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from models import BY_HAND, COMMON
from tiny_llama import add_tokenizer

ARCHITECTURES = {"muse_glimmer": "muse-glimmer", "kimi_linear": "kimi-linear"}
LATENT = ("kimi_linear", "bailingmoe3")
NEIGHBOURS = ("granite_swa", "muse_glimmer")  # whose rows of q and k come in the order of a rope that pairs neighbours
TABLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
IN_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.g_proj": "attn_gate",
    "self_attn.gate_proj": "attn_gate",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
MUSE = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
Tensors = dict[str, np.ndarray]


def random_model(name: str) -> tuple[Mapping[str, torch.Tensor], np.ndarray, Any]:
    """Weights, logits and configuration of a text model."""
    torch.manual_seed(0)
    config = {**COMMON, **BY_HAND[name]}
    if name == "muse_glimmer":
        vision = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
        whole = AutoConfig.for_model(
            name, text_config=config, vision_config={**vision, "pos_emb_height": 2, "pos_emb_width": 2},
            out_hidden_size=64, projector_hidden_size=32,
        )  # fmt: skip
        model = AutoModelForImageTextToText.from_config(whole, attn_implementation="eager").float().eval()
        text = whole.text_config
    else:
        text = AutoConfig.for_model(**config)
        model = AutoModelForCausalLM.from_config(text, attn_implementation="eager").float().eval()
    for tensor, values in model.named_parameters():
        if "norm" in tensor:
            torch.nn.init.normal_(values, 1.0, 0.1)
        elif tensor.endswith(("bias", "sinks")):
            torch.nn.init.normal_(values, 0.0, 0.1)
        elif tensor.endswith("A_log"):
            torch.nn.init.normal_(values, -2.0, 0.5)
        elif "conv1d" in tensor:  # see make.py
            torch.nn.init.normal_(values, 0.0, 3.0)
        values.data = values.data.half().float()
    for tensor, values in model.named_buffers():
        if tensor.endswith("e_score_correction_bias"):
            torch.nn.init.normal_(values, 0.0, 0.1)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([TOKENS])).logits[0].numpy()
    weights = {tensor.replace(".language_model", ""): values for tensor, values in model.state_dict().items()}
    return {tensor: values for tensor, values in weights.items() if "vision" not in tensor}, logits, text


def head_dim(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def gguf_tensors(name: str, weights: Mapping[str, torch.Tensor], config: Any) -> Tensors:
    found: Tensors = {}
    for tensor, values in weights.items():
        if tensor in TABLE:
            found[TABLE[tensor]] = values.numpy()
        else:
            _, _, layer, *rest = tensor.split(".")
            if name in LATENT and rest[0] == "self_attn":
                found |= latent_models.of_attention(name, config, int(layer), rest[1:], values.numpy())
                continue
            found |= of_layer(name, f"blk.{layer}", rest, values.numpy(), head_dim(config))
    if name == "muse_glimmer":
        for layer in range(config.num_hidden_layers):
            for which, scale in (("q", config.qk_scale_factor), ("k", 1.0)):
                found[f"blk.{layer}.attn_{which}_norm.weight"] = np.full(config.head_dim, scale, np.float32)
    return found


def of_layer(name: str, block: str, rest: list[str], values: np.ndarray, size: int) -> Tensors:
    """What becomes of one tensor. rest: its name in the layer. size: of a head."""
    part, kind = ".".join(rest[:-1]), rest[-1]
    match kind:
        case "sinks":
            return {f"{block}.attn_sinks.weight": values}
        case "gate_up_proj":
            gate, up = np.split(values, 2, axis=1)
            return {f"{block}.ffn_gate_exps.weight": gate, f"{block}.ffn_up_exps.weight": up}
        case "down_proj":
            return {f"{block}.ffn_down_exps.weight": values}
        case "e_score_correction_bias":
            return {f"{block}.exp_probs_b.bias": values}
    if name in NEIGHBOURS and part in ("self_attn.q_proj", "self_attn.k_proj"):
        values = values.reshape(-1, 2, size // 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
    if name == "muse_glimmer" and "norm" in part:
        values = values + 1
    names = {**IN_LAYER, **(MUSE if name == "muse_glimmer" else {})}
    return {f"{block}.{names[part]}.{kind}": values}


def metadata(name: str, config: Any) -> dict[str, Any]:
    """Keys without the architecture's prefix."""
    windows = [kind == "sliding_attention" for kind in config.layer_types]
    found: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_dim(config),
        "attention.value_length": head_dim(config),
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "attention.sliding_window": config.sliding_window,
        "attention.sliding_window_pattern": windows,
        "vocab_size": config.vocab_size,
    }
    if name == "granite_swa":
        return found | {
            "rope.freq_base": config.rope_parameters["rope_theta"],
            "attention.rope_pattern": [theta > 0 for theta in config.layer_rope_theta],
            "embedding_scale": config.embedding_multiplier,
            "attention.scale": config.attention_multiplier,
            "residual_scale": config.residual_multiplier,
            "logit_scale": config.logits_scaling,
        }
    if name == "muse_glimmer":
        return found | {
            "rope.freq_base": config.rope_parameters["rope_theta"],
            "logit_scale": config.output_multiplier,
            "final_logit_softcapping": config.final_logit_softcapping,
        }
    full, local = (config.rope_parameters[kind] for kind in ("full_attention", "sliding_attention"))
    share = full.get("partial_rotary_factor", 1.0)
    found |= {
        "rope.freq_base": full["rope_theta"],
        "rope.dimension_count": int(config.head_dim * share),
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": full["factor"],
        "rope.scaling.original_context_length": full["original_max_position_embeddings"],
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
    }
    if name == "laguna":
        found |= {
            "attention.head_count": config.num_attention_heads_per_layer,
            "rope.freq_base_swa": local["rope_theta"],
            "rope.dimension_count_swa": config.head_dim,
            "expert_shared_feed_forward_length": config.shared_expert_intermediate_size,
            "expert_weights_norm": True,
            "expert_weights_scale": config.moe_routed_scaling_factor,
            "expert_gating_func": 2,
            "leading_dense_block_count": 1,
        }
    return found


def without_reference(name: str) -> tuple[Tensors, dict[str, Any]]:
    """Random weights, of a family that transformers has not."""
    random, keys = np.random.default_rng(0), BY_HAND[name]
    hidden, heads, size, vocabulary = (keys[key] for key in ("embedding_length", "heads", "head_dim", "vocab_size"))
    experts, width, wide = (keys[key] for key in ("expert_count", "expert_feed_forward_length", "feed_forward_length"))

    def matrix(*shape: int) -> np.ndarray:
        return random.normal(0, 0.2, shape).astype(np.float16).astype(np.float32)

    def norm(size: int) -> np.ndarray:
        return random.normal(1, 0.1, size).astype(np.float32)

    found = {"token_embd.weight": matrix(vocabulary, hidden), "output.weight": matrix(vocabulary, hidden)}
    found["output_norm.weight"] = norm(hidden)
    of_experts = {
        "ffn_gate_inp": (experts, hidden), "ffn_gate_exps": (experts, width, hidden),
        "ffn_up_exps": (experts, width, hidden), "ffn_down_exps": (experts, hidden, width),
    }  # fmt: skip
    dense = {"ffn_gate": (wide, hidden), "ffn_up": (wide, hidden), "ffn_down": (hidden, wide)}
    apart = {"attn_q": (heads * size, hidden), "attn_k": (size, hidden), "attn_v": (size, hidden)}
    for layer in range(keys["block_count"]):
        block, shapes = f"blk.{layer}", {"attn_output": (hidden, heads * size)}
        shapes |= dense if layer < keys.get("leading_dense_block_count", 0) else of_experts
        if name == "bailingmoe2":
            shapes["attn_qkv"] = (heads * size + 2 * size, hidden)
            if "ffn_gate_exps" in shapes:
                shared = {"ffn_gate_shexp": (width, hidden), "ffn_up_shexp": (width, hidden)}
                shapes |= {**shared, "ffn_down_shexp": (hidden, width)}
                found[f"{block}.exp_probs_b.bias"] = random.normal(0, 0.1, experts).astype(np.float32)
        else:
            shapes |= apart
        found |= {f"{block}.{name}.weight": matrix(*shape) for name, shape in shapes.items()}
        found |= {f"{block}.{name}.weight": norm(hidden) for name in ("attn_norm", "ffn_norm")}
        found |= {f"{block}.{name}.weight": norm(size) for name in ("attn_q_norm", "attn_k_norm")}
    given = {key: value for key, value in keys.items() if key not in ("heads", "head_dim")}
    return found, {**given, "attention.head_count": heads, "attention.key_length": size, "attention.value_length": size}


def write(name: str, tensors: Tensors, keys: Mapping[str, Any], *, halves: bool) -> None:
    """halves: matrices are F16, which holds them as they are; routers are F32."""
    architecture = ARCHITECTURES.get(name, name)
    writer = gguf.GGUFWriter(str(HERE / f"{name}.gguf"), architecture)
    for key, value in keys.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        add.get(type(value), writer.add_array)(f"{architecture}.{key}", value)
    add_tokenizer(writer, unused=keys["vocab_size"] - 260)
    for tensor, values in tensors.items():
        half = halves and values.ndim > 1 and not any(part in tensor for part in ("gate_inp", "conv1d", "ssm_a"))
        writer.add_tensor(tensor, np.ascontiguousarray(values, np.float16 if half else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    before = HERE / "logits.npz"
    found = dict(np.load(before))
    for name in sys.argv[1:] or BY_HAND:
        if "model_type" not in BY_HAND[name]:
            tensors, keys = without_reference(name)
            write(name, tensors, keys, halves=False)
            found[name] = logits_of_llama_cpp(HERE / f"{name}.gguf")[KEPT]
        else:
            weights, logits, config = random_model(name)
            keys = latent_models.metadata(name, config) if name in LATENT else metadata(name, config)
            write(name, gguf_tensors(name, weights, config), keys, halves=True)
            differences = np.abs(logits_of_llama_cpp(HERE / f"{name}.gguf") - logits).max(axis=1) / logits.std()
            print(f"{name}: llama.cpp differs by {np.median(differences):.1e} of the deviation {logits.std():.3f}")
            assert np.median(differences) < 1e-2
            found[name] = logits[KEPT]
    np.savez_compressed(before, **found)


if __name__ == "__main__":
    main()
