"""The small models that make.py converts. Those that are not in IN_FLOATS have weights that halves hold."""

from __future__ import annotations

from typing import Any

COMMON = {
    "vocab_size": 260,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "bos_token_id": 257,
    "eos_token_id": 258,
    "pad_token_id": 258,
    "initializer_range": 0.15,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "rope_theta": 10000.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "attention_factor": 1.138629436111989,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
HALF_ROTATED = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
# Heads are 96 wide, and the hidden size is 64.
ODD = {
    "initializer_range": 0.1,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": 333,
}
EXPERTS = {
    "initializer_range": 0.1,
    "vocab_size": 272,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "intermediate_size": 64,
}
GRANITE_EXPERTS = {
    "initializer_range": 0.1,
    "vocab_size": 272,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "intermediate_size": 32,
    "shared_intermediate_size": 64,
    "embedding_multiplier": 2.0,
    "attention_multiplier": 0.17,
    "residual_multiplier": 0.5,
    "logits_scaling": 4.0,
}
# As many sections as are interleaved: llama.cpp takes what is left over for a fourth position.
MROPE = {
    "rope_type": "default", "rope_theta": 1e5, "partial_rotary_factor": 0.5, "mrope_interleaved": True,
    "mrope_section": [3, 3, 2],
}  # fmt: skip
DELTA_NET = {
    "initializer_range": 0.1,
    "vocab_size": 333, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 3,
    "num_key_value_heads": 1, "head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 6,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "rope_parameters": MROPE,
    "full_attention_interval": 2,
}  # fmt: skip
DELTA_NET_EXPERTS = {
    **DELTA_NET, "num_hidden_layers": 2, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 96,
}  # fmt: skip
OLMO3 = {"model_type": "olmo3", "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
IN_FLOATS = (  # by their types
    "granite", "lfm2", "olmo3", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "stablelm", "starcoder2",
)  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "olmo3": {
        **OLMO3,
        "sliding_window": 16,
        "rope_parameters": {
            "full_attention": YARN,
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    },
    "granite": {
        "model_type": "granite",
        "num_hidden_layers": 2,
        "embedding_multiplier": 2.0,
        "attention_multiplier": 0.17,
        "residual_multiplier": 0.5,
        "logits_scaling": 4.0,
    },
    "stablelm": {"model_type": "stablelm", "num_hidden_layers": 2, "use_qkv_bias": True},
    "stablelm-parallel": {
        "model_type": "stablelm",
        "num_hidden_layers": 2,
        "use_parallel_residual": True,
    },
    "starcoder2": {
        "model_type": "starcoder2",
        "num_hidden_layers": 2,
        "use_bias": True,
        "tie_word_embeddings": True,
        "vocab_size": 272,
    },
    "lfm2": {
        "model_type": "lfm2",
        "vocab_size": 272,
        "num_hidden_layers": 4,
        "layer_types": ["conv", "full_attention", "conv", "conv"],
        "block_multiple_of": 32,
        "block_auto_adjust_ff_dim": True,
        "block_ffn_dim_multiplier": 1.0,
        "tie_word_embeddings": True,
    },
    "glm4": {"model_type": "glm4", **ODD, "initializer_range": 0.15, **HALF_ROTATED, "attention_bias": True},
    "seed_oss": {"model_type": "seed_oss", **ODD, "attention_bias": True},
    "exaone4": {
        "model_type": "exaone4",
        "num_hidden_layers": 2,
        "vocab_size": 333,
        "sliding_window": None,
        "layer_types": ["full_attention"] * 2,
        "rope_parameters": LLAMA3,
    },
    "ernie4_5": {"model_type": "ernie4_5", **ODD},
    "hunyuan": {
        "model_type": "hunyuan_v1_dense",
        **ODD,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "alpha": 1000.0, "factor": 1.0},
    },
    "cohere2": {
        "model_type": "cohere2",
        "vocab_size": 272,
        "num_hidden_layers": 5,
        "intermediate_size": 64,
        "sliding_window": 16,
        "rotary_pct": 1.0,
        "tie_word_embeddings": True,
    },
    "phi2": {
        "model_type": "phi",
        "vocab_size": 272,
        "num_hidden_layers": 2,
        "num_key_value_heads": 4,
        "intermediate_size": 256,
        "hidden_act": "gelu_new",
    },
    "qwen2moe": {
        "model_type": "qwen2_moe",
        "num_hidden_layers": 2,
        **EXPERTS,
        "shared_expert_intermediate_size": 96,
        "norm_topk_prob": False,
    },
    "granitemoe": {"model_type": "granitemoeshared", "num_hidden_layers": 2, **GRANITE_EXPERTS},
    "olmoe": {
        "model_type": "olmoe",
        "num_hidden_layers": 2,
        "num_key_value_heads": 4,
        **EXPERTS,
        "intermediate_size": 32,
        "norm_topk_prob": False,
    },
    "glm4moe": {
        "model_type": "glm4_moe",
        **ODD,
        **HALF_ROTATED,
        "attention_bias": True,
        "use_qk_norm": True,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "n_shared_experts": 2,
        "routed_scaling_factor": 1.5,
        "num_nextn_predict_layers": 0,
    },
    "ernie4_5_moe": {
        "model_type": "ernie4_5_moe",
        **ODD,
        "intermediate_size": 64,
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_intermediate_size": 32,
        "moe_num_shared_experts": 2,
        "tie_word_embeddings": True,
    },
    "apertus": {"model_type": "apertus", **ODD, "rope_parameters": LLAMA3},
    "afmoe": {
        "model_type": "afmoe",
        **ODD,
        **EXPERTS,
        "num_hidden_layers": 4,
        "num_dense_layers": 1,
        "num_shared_experts": 2,
        "route_scale": 1.5,
        "route_norm": True,
        "sliding_window": 16,
        "mup_enabled": True,
    },
    "laguna": {
        "model_type": "laguna",
        **ODD,
        **EXPERTS,
        "num_hidden_layers": 4,
        "shared_expert_intermediate_size": 64,
        "sliding_window": 16,
        "moe_routed_scaling_factor": 1.5,
        "num_attention_heads_per_layer": [2, 3, 3, 3],
        "gating": "per-head",
        "layer_types": ["full_attention", *["sliding_attention"] * 3],
        "mlp_layer_types": ["dense", *["sparse"] * 3],
        "rope_parameters": {
            "full_attention": {**YARN, "partial_rotary_factor": 0.5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 1.0},
        },
    },
    "qwen3_5": {**DELTA_NET, "model_type": "qwen3_5_text"},
    "qwen3_5_moe": {**DELTA_NET_EXPERTS, "model_type": "qwen3_5_moe_text"},
    "qwen3_next": {**DELTA_NET_EXPERTS, "model_type": "qwen3_next"},
}
