"""What by_hand.py writes of Kimi Linear and Ling 3, by llama.cpp's kimi-linear.cpp and bailingmoe3.cpp."""

from __future__ import annotations

from typing import Any

import numpy as np

IN_LAYER = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "kv_a_layernorm": "attn_kv_a_norm",
    "forget_gate.f_a_proj": "ssm_f_a",
    "forget_gate.f_b_proj": "ssm_f_b",
    "forget_gate.f_proj": "ssm_f_a",
    "g_a_proj": "ssm_g_a",
    "g_b_proj": "ssm_g_b",
    "b_proj": "ssm_beta",
    "o_norm": "ssm_norm",
}
FULL = "full_attention"


def of_attention(name: str, config: Any, layer: int, rest: list[str], values: np.ndarray) -> dict[str, np.ndarray]:
    """What becomes of one tensor of attention. rest: its name there."""
    block, heads, part = f"blk.{layer}", config.num_attention_heads, ".".join(rest)
    match part.removesuffix(".weight"):
        case "kv_b_proj":
            both = values.reshape(heads, -1, config.kv_lora_rank)
            keys, own = np.split(both, [config.qk_nope_head_dim], axis=1)
            return {f"{block}.attn_k_b.weight": keys.swapaxes(1, 2), f"{block}.attn_v_b.weight": own}
        case "conv1d":
            kernels = np.split(values, 3)
            return {f"{block}.ssm_conv1d_{part}.weight": k for part, k in zip("qkv", kernels, strict=True)}
        case "forget_gate.A_log":
            rates = np.exp(values).reshape(-1, 1)
            return {f"{block}.ssm_a": -rates if name == "kimi_linear" else rates}
        case "forget_gate.dt_bias":
            return {f"{block}.ssm_dt.bias": values}
        case "g_proj":
            return {f"{block}.{'attn_gate' if config.layer_types[layer] == FULL else 'ssm_g_a'}.weight": values}
    return {f"{block}.{IN_LAYER[part.removesuffix('.weight')]}.weight": values}


def metadata(name: str, config: Any) -> dict[str, Any]:
    """Keys without the architecture's prefix."""
    found: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": [int(kind == FULL) for kind in config.layer_types],
        "attention.key_length": config.kv_lora_rank + config.qk_rope_head_dim,
        "attention.value_length": config.kv_lora_rank,
        "attention.key_length_mla": config.qk_nope_head_dim + config.qk_rope_head_dim,
        "attention.value_length_mla": config.v_head_dim,
        "attention.kv_lora_rank": config.kv_lora_rank,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.qk_rope_head_dim,
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "kda.head_dim": config.linear_head_dim,
        "expert_count": config.num_local_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_count": config.n_shared_experts,
        "expert_weights_scale": config.routed_scaling_factor,
        "expert_gating_func": 2,
        "leading_dense_block_count": 1,
    }
    if name == "bailingmoe3":
        found |= {
            "rope.freq_base": config.rope_parameters["rope_theta"],
            "kda.safe_gate": config.kda_safe_gate,
            "kda.gate_lower_bound": config.kda_lower_bound,
            "expert_weights_norm": True,
            "expert_group_count": config.n_group,
            "expert_group_used_count": config.topk_group,
        }
    return found
