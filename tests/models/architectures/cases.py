"""The configurations that architectures are tested in: what config.json of real checkpoints says, of small models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

TOKENS = [300, *range(72, 130), 301, *range(11, 47)]  # 96: more than a page of the cache, and than the windows below
KEPT = slice(3, None, 8)  # positions whose logits are committed
BITNET_ONLINE = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
NO_FACTORS = [1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5]
LONG_FACTORS = [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0]


@dataclass(frozen=True)
class Case:
    """One configuration.

    context: what the model is loaded for. tokens: how many of TOKENS. oracle: what transformers is told instead of, or
    beside, these keys; renamed: its names for ours, for models that it knows by another name. half_cache: it keeps keys
    and values in half precision, as lutmac does: where activations are rounded to 8 bits, this difference alone tips so
    many of them that its logits change by 2e-2.
    """

    config: Mapping[str, Any]
    context: int | None = None
    tokens: int = len(TOKENS)
    oracle: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    half_cache: bool = False


def case(model_type: str, *, context: int | None = None, tokens: int = len(TOKENS), **changes: Any) -> Case:
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 300,
        "eos_token_id": 301,
        "pad_token_id": None,
    }
    config |= changes
    rounds = "quantization_config" in config or "input_bits" in config
    return Case({key: value for key, value in config.items() if value is not ...}, context, tokens, half_cache=rounds)


def rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": kind, **values}}


def phi_rope(kind: str, factors: int = 8) -> dict[str, Any]:
    scaling = {"type": kind, "short_factor": NO_FACTORS[:factors], "long_factor": LONG_FACTORS[:factors]}
    return {"rope_scaling": scaling, "original_max_position_embeddings": 48}


GEMMA = {"rope_theta": ..., "tie_word_embeddings": ..., "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh"}
GEMMA2 = {**GEMMA, "num_hidden_layers": 4, "query_pre_attn_scalar": 24, "sliding_window": 24}
GEMMA3 = {**GEMMA, "num_hidden_layers": 7, "query_pre_attn_scalar": 32, "sliding_window": 24}
GEMMA4 = {
    "rope_theta": ..., "tie_word_embeddings": True, "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 24, "final_logit_softcapping": 30.0, "vocab_size": 333, "num_attention_heads": 3,
    "num_key_value_heads": 1, "pad_token_id": 0,
}  # fmt: skip
FULL_LAYER = {"head_dim": 64, "num_key_value_heads": 1}
ODD = {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 333}  # heads are 96 wide
OLMO3 = {"num_hidden_layers": 4, "sliding_window": 24}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 64, "head_dim": 32}
MROPE = {
    "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_interleaved": True,
    "mrope_section": [2, 1, 1],
}  # fmt: skip
QWEN35 = {
    "vocab_size": 333, "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32,
    "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 12, "linear_value_head_dim": 16,
    "rope_theta": ..., "rope_parameters": MROPE, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
}  # fmt: skip
SHARED = {**EXPERTS, "shared_expert_intermediate_size": 96, "intermediate_size": ...}
HYBRID = ["linear_attention", "linear_attention", "full_attention", "linear_attention"]
LATENT = {
    "vocab_size": 333, "num_attention_heads": 3, "num_key_value_heads": 3, "kv_lora_rank": 64, "q_lora_rank": 32,
    "qk_rope_head_dim": 10, "qk_nope_head_dim": 32, "v_head_dim": 32, "n_routed_experts": 6, "num_experts_per_tok": 3,
    "n_shared_experts": 2, "moe_intermediate_size": 64, "first_k_dense_replace": 1, "num_nextn_predict_layers": 0,
}  # fmt: skip
KDA = {
    "vocab_size": 333, "num_hidden_layers": 5, "num_attention_heads": 3, "num_key_value_heads": 3, "kv_lora_rank": 64,
    "q_lora_rank": None, "qk_rope_head_dim": 10, "qk_nope_head_dim": 32, "v_head_dim": 32, "moe_intermediate_size": 64,
    "rms_norm_eps": 1e-6, "topk_group": 1,
}  # fmt: skip
BITNET_OLDER = {"architectures": ["BitnetForCausalLM"], "weight_bits": 1, "input_bits": 8, "hidden_act": "silu"}


def bitnet_older(**changes: Any) -> Case:
    """1bitLLM's form, which transformers knows by other names."""
    return replace(
        case("llama", **BITNET_OLDER, **changes),
        oracle={"model_type": "bitnet", "architectures": ..., "quantization_config": BITNET_ONLINE},
        renamed={"attn_sub_norm": "inner_attn_ln", "ffn_sub_norm": "ffn_layernorm"},
    )


# Mamba2's heads are 128 wide, or as wide as Falcon-H1's d_ssm says.
GRANITE4 = {
    "vocab_size": 333, "shared_intermediate_size": 160, "embedding_multiplier": 12.0, "attention_multiplier": 0.0625,
    "residual_multiplier": 0.22, "logits_scaling": 8.0, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 20,
    "mamba_d_conv": 4, "mamba_expand": 2,
}  # fmt: skip
NEMOTRON = {
    "vocab_size": 333, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32, "mamba_num_heads": 6,
    "mamba_head_dim": 16, "ssm_state_size": 20, "conv_kernel": 3, "layer_norm_epsilon": 1e-5, "rms_norm_eps": ...,
    "rope_theta": ..., "mlp_hidden_act": "relu2",
}  # fmt: skip
NEMOTRON_EXPERTS = {
    "n_routed_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 64,
    "moe_shared_expert_intermediate_size": 96, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
}  # fmt: skip
FALCON_H1 = {
    "mamba_d_ssm": 96, "mamba_n_heads": 6, "mamba_d_head": 16, "mamba_d_state": 20, "mamba_d_conv": 4,
}  # fmt: skip
CASES: dict[str, Case] = {
    "llama": case("llama"),
    "llama-1": case("llama", num_key_value_heads=..., rope_theta=..., max_position_embeddings=2048),
    "llama-biases-tied": case("llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama-one-kv-head": case("llama", num_key_value_heads=1, head_dim=32),
    "llama-linear": case("llama", **rope("linear", factor=4.0)),
    "llama-linear-older": case("llama", rope_scaling={"type": "linear", "factor": 2.5}),
    "llama-dynamic": case("llama", **rope("dynamic", factor=2.0)),
    "llama-yarn": case("llama", **rope("yarn", factor=8.0, original_max_position_embeddings=32)),
    "llama-yarn-tuned": case(
        "llama",
        head_dim=64,
        **rope(
            "yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=1.3, beta_fast=16.0,
            beta_slow=2.0, truncate=False,
        ),
    ),
    "llama-yarn-mscale": case(
        "llama", **rope("yarn", factor=4.0, original_max_position_embeddings=64, mscale=0.7, mscale_all_dim=1.2)
    ),
    "llama-3.1": case(
        "llama",
        head_dim=64,
        **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
    ),
    "llama-longrope": case(
        "llama", **rope("longrope", factor=4.0, original_max_position_embeddings=48, short_factor=NO_FACTORS,
        long_factor=LONG_FACTORS),
    ),
    "llama-rope-parameters": case(
        "llama", rope_theta=..., rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}
    ),
    "llama-heads-of-80": case("llama", head_dim=80),
    "falcon3": case("llama", head_dim=256, rope_theta=1000042, num_hidden_layers=1),
    "falcon3-1.58bit": case("llama", quantization_config=BITNET_ONLINE),
    "mistral": case("mistral", sliding_window=24),
    "mistral-no-window": case("mistral", sliding_window=None, head_dim=32),
    "smollm3": case(
        "smollm3", num_hidden_layers=5, no_rope_layers=[1, 1, 1, 0, 1], use_sliding_window=False, sliding_window=None
    ),
    "smollm3-interval": case("smollm3", no_rope_layers=..., no_rope_layer_interval=2, tie_word_embeddings=True),
    "qwen2": case("qwen2", use_sliding_window=False, sliding_window=32768, max_window_layers=21),
    "qwen2-window": case("qwen2", use_sliding_window=True, sliding_window=24, max_window_layers=1),
    "qwen2-yarn": case("qwen2", **rope("yarn", factor=4.0, original_max_position_embeddings=64)),
    "qwen3": case("qwen3", head_dim=32, tie_word_embeddings=True),
    "qwen3-heads-of-40": case("qwen3", head_dim=40),
    "qwen3-biases": case("qwen3", head_dim=32, attention_bias=True),
    "gemma2": case(
        "gemma2", **{**GEMMA2, "query_pre_attn_scalar": 32}, attn_logit_softcapping=50.0, final_logit_softcapping=30.0
    ),
    "gemma2-27b": case("gemma2", **GEMMA2, attn_logit_softcapping=50.0, final_logit_softcapping=30.0),
    "gemma2-tight": case("gemma2", **GEMMA2, attn_logit_softcapping=1.0, final_logit_softcapping=2.0),
    "gemma2-caps-not-said": case("gemma2", **{**GEMMA2, "query_pre_attn_scalar": 32}),
    "gemma2-no-caps": case("gemma2", **GEMMA2, attn_logit_softcapping=None, final_logit_softcapping=None),
    "gemma3": case(
        "gemma3_text", **{**GEMMA3, "rope_theta": 1e6}, rope_local_base_freq=10000.0, sliding_window_pattern=6,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    ),
    "gemma3-270m": case(
        "gemma3_text",
        **{**GEMMA3, "num_hidden_layers": 4, "rope_theta": 1e6},
        rope_local_base_freq=5000.0,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        _sliding_window_pattern=6,
        attn_logit_softcapping=None,
        num_key_value_heads=1,
    ),
    "gemma3-rope-parameters": case(
        "gemma3_text",
        **GEMMA3,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "gemma3n": case(  # the last three layers read the keys and values of others
        "gemma3n_text", **{**GEMMA4, "num_attention_heads": 4, "num_key_value_heads": 1}, num_hidden_layers=6,
        num_kv_shared_layers=3, laurel_rank=32, hidden_size_per_layer_input=32, vocab_size_per_layer_input=301,
        intermediate_size=[96, 96, 96, 64, 64, 64], activation_sparsity_pattern=[0.9, 0.9, 0.5, 0.0, 0.0, 0.0],
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2, altup_active_idx=1,
        altup_num_inputs=3,
    ),
    "gemma4-e2b": case(  # the last two layers read the keys and values of the second and third
        "gemma4_text", **GEMMA4, num_hidden_layers=5, num_kv_shared_layers=2, use_double_wide_mlp=True,
        hidden_size_per_layer_input=32, vocab_size_per_layer_input=333, global_head_dim=64,
        layer_types=[*["sliding_attention"] * 2, "full_attention", "sliding_attention", "full_attention"],
    ),
    "gemma4-31b": case(  # keys are values in full layers, of fewer and larger heads
        "gemma4_text", **{**GEMMA4, "num_attention_heads": 6, "num_key_value_heads": 3}, num_hidden_layers=7,
        hidden_size_per_layer_input=0, attention_k_eq_v=True, num_kv_shared_layers=0,
        per_layer_config={"5": FULL_LAYER, "6": FULL_LAYER},
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1e5},
        },
    ),
    "gemma4-26b-a4b": case(  # experts beside the MLP
        "gemma4_text", **{**GEMMA4, "num_key_value_heads": 2, "num_attention_heads": 4}, num_hidden_layers=6,
        hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1, global_head_dim=64,
        enable_moe_block=True, num_experts=6, top_k_experts=3, moe_intermediate_size=64,
        use_bidirectional_attention="vision",
    ),
    "gemma4-unified": case(
        "gemma4_unified_text", **GEMMA4, num_hidden_layers=4, global_head_dim=64, attention_k_eq_v=True,
        layer_types=["sliding_attention", "full_attention"] * 2, use_bidirectional_attention="vision",
    ),
    "phi3": case("phi3", rope_scaling=None, original_max_position_embeddings=256, sliding_window=24),
    "phi3-128k": case("phi3", **phi_rope("longrope"), sliding_window=262144, num_key_value_heads=4),
    "phi3-128k-short": replace(
        case("phi3", **phi_rope("su"), context=48, tokens=48), oracle=phi_rope("longrope")  # it no longer knows "su"
    ),
    "phi4-mini": case(
        "phi3", **phi_rope("longrope", 6), head_dim=..., partial_rotary_factor=0.75, tie_word_embeddings=True
    ),
    "bitnet-2b-4t": case(
        "bitnet", hidden_act="relu2", rope_theta=500000.0, quantization_config=BITNET_ONLINE, tie_word_embeddings=True
    ),
    "bitnet-plain": case("bitnet", hidden_act="relu2"),
    "bitnet-1bitllm": bitnet_older(),
    "bitnet-1bitllm-3b": bitnet_older(  # heads of 100, as its 32 are
        hidden_size=800, num_attention_heads=8, num_key_value_heads=8, num_hidden_layers=2
    ),
    "olmo2": case("olmo2", rope_theta=500000.0),
    "olmo3": case(
        "olmo3", **OLMO3, rope_theta=500000.0, **rope("yarn", factor=4.0, original_max_position_embeddings=64)
    ),
    "olmo3-rope-parameters": case(
        "olmo3",
        **OLMO3,
        rope_theta=...,
        rope_parameters={
            "full_attention": {
                "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "rope_theta": 500000.0,
                "attention_factor": 1.2,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
        },
        layer_types=["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
    ),
    "granite": case(
        "granite", embedding_multiplier=12.0, attention_multiplier=0.0625, residual_multiplier=0.22,
        logits_scaling=8.0, tie_word_embeddings=True,
    ),
    "mixtral": case("mixtral", num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
    "qwen3-moe": case("qwen3_moe", **EXPERTS, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[]),
    "qwen3-moe-some-dense": case(
        "qwen3_moe", **EXPERTS, norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[1], num_hidden_layers=4
    ),
    "qwen3.5": case("qwen3_5_text", **QWEN35, layer_types=HYBRID),
    "qwen3.5-27b": case(  # as GGUF has them: keys and values of one size, and more of the latter
        "qwen3_5_text",
        **{**QWEN35, "linear_key_head_dim": 32, "linear_value_head_dim": 32, "linear_num_value_heads": 8},
    ),
    "qwen3.5-tied": case(
        "qwen3_5_text",
        **{**QWEN35, "linear_num_value_heads": 4, "linear_value_head_dim": 40, "linear_num_key_heads": 4},
        full_attention_interval=2, linear_conv_kernel_dim=3, tie_word_embeddings=True, attention_bias=True,
    ),
    "qwen3.5-moe": case("qwen3_5_moe_text", **{**QWEN35, **SHARED}, layer_types=HYBRID),
    "qwen3-next": case(
        "qwen3_next", **{**QWEN35, **SHARED}, full_attention_interval=2, norm_topk_prob=True, mlp_only_layers=[],
        decoder_sparse_step=1,
    ),
    "qwen3-next-hub": case(
        "qwen3_next",
        **{**QWEN35, **SHARED, "rope_parameters": ..., "rope_theta": 10000000, "intermediate_size": 96},
        rope_scaling=None, partial_rotary_factor=0.25, norm_topk_prob=False, mlp_only_layers=[1],
        decoder_sparse_step=1,
    ),
    "stablelm": case("stablelm", layer_norm_eps=1e-5, use_qkv_bias=True, head_dim=..., partial_rotary_factor=0.5),
    "stablelm-parallel": case(
        "stablelm", qk_layernorm=True, use_parallel_residual=True, num_attention_heads=2, num_key_value_heads=1,
        rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    ),
    "starcoder2": case("starcoder2", norm_epsilon=1e-5, use_bias=True, tie_word_embeddings=True),
    "starcoder2-window": case("starcoder2", sliding_window=24, use_bias=False),
    "lfm2": case(
        "lfm2", num_hidden_layers=4, layer_types=["conv", "full_attention", "conv", "conv"], norm_eps=1e-5,
        block_auto_adjust_ff_dim=False, tie_word_embeddings=True,
    ),
    "lfm2-hub": case(
        "lfm2", intermediate_size=..., block_ff_dim=144, block_auto_adjust_ff_dim=True, block_multiple_of=32,
        block_ffn_dim_multiplier=1.0, full_attn_idxs=[1], conv_L_cache=4, conv_bias=True, norm_eps=1e-5,
        tie_word_embeddings=..., tie_embedding=True, rope_theta=1000000.0,
    ),
    "lfm2-moe": case(
        "lfm2_moe", vocab_size=333, num_hidden_layers=5, num_dense_layers=2, num_experts=6, num_experts_per_tok=3,
        moe_intermediate_size=64, layer_types=["conv", "full_attention", "conv", "full_attention", "conv"],
        norm_eps=1e-5, use_expert_bias=True, routed_scaling_factor=1.5, num_key_value_heads=1,
        tie_word_embeddings=True,
    ),
    "lfm3": case(
        "lfm3", **ODD, num_hidden_layers=5, sliding_window=24, rope_theta=..., norm_eps=1e-5, conv_L_cache=7,
        tie_word_embeddings=True,
    ),
    "lfm3-plain": case(  # without gates and norms behind
        "lfm3", num_hidden_layers=4, head_dim=32, sliding_window=24, rope_theta=..., norm_eps=1e-5, conv_L_cache=4,
        use_attention_gate=False, use_sandwich_norm=False, conv_bias=True,
        layer_types=["conv", "sliding_attention", "conv", "full_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
            "full_attention": {"rope_type": "proportional", "rope_theta": 1e5, "partial_rotary_factor": 0.25},
        },
    ),
    "glm4": case("glm4", **ODD, partial_rotary_factor=0.5, attention_bias=True),
    "seed-oss": case("seed_oss", **ODD, attention_bias=True, attention_out_bias=False, mlp_bias=False),
    "exaone4": replace(
        case("exaone4", num_hidden_layers=5, sliding_window=24, sliding_window_pattern="LLLG"),
        oracle={"layer_types": [*["sliding_attention"] * 3, "full_attention", "full_attention"]},
    ),
    "exaone4-small": case(
        "exaone4", **ODD, sliding_window=None, sliding_window_pattern=None, layer_types=["full_attention"] * 3,
        tie_word_embeddings=True, **rope(
            "llama3", factor=16.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
        ),
    ),
    "internlm3": replace(
        case("internlm3", head_dim=32, num_key_value_heads=1, qkv_bias=True, bias=False, **rope("dynamic", factor=6.0)),
        oracle={"model_type": "qwen2"},  # which has biases in the same places; transformers lacks InternLM 3
    ),
    "ernie4-5": case("ernie4_5", **ODD, rope_theta=500000.0, use_bias=False, tie_word_embeddings=True),
    "ernie4-5-biases": case("ernie4_5", head_dim=..., rope_theta=..., use_bias=True),
    "hunyuan-dense": case(
        "hunyuan_v1_dense", **ODD, rope_scaling={"type": "dynamic", "alpha": 1000.0, "factor": 1.0},
        use_qk_norm=True, tie_word_embeddings=True,
    ),
    "cohere2": case(
        "cohere2", num_hidden_layers=5, num_key_value_heads=1, sliding_window=24, sliding_window_pattern=4,
        layer_norm_eps=1e-5, logit_scale=0.25, tie_word_embeddings=..., vocab_size=333,
    ),
    "phi-2": case("phi", layer_norm_eps=1e-5, partial_rotary_factor=0.5, hidden_act="gelu_new", vocab_size=333),
    "phi-1.5": case("phi", layer_norm_eps=1e-5, partial_rotary_factor=0.5, qk_layernorm=True, num_key_value_heads=1),
    "qwen2-moe": case(
        "qwen2_moe", vocab_size=333, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=64,
        shared_expert_intermediate_size=160, norm_topk_prob=False, decoder_sparse_step=1, num_key_value_heads=1,
    ),
    "granite-moe": case(
        "granitemoe", vocab_size=333, num_local_experts=6, num_experts_per_tok=3, embedding_multiplier=12.0,
        attention_multiplier=0.0625, residual_multiplier=0.22, logits_scaling=8.0, tie_word_embeddings=True,
    ),
    "granite-moe-shared": case(
        "granitemoeshared", num_local_experts=6, num_experts_per_tok=3, embedding_multiplier=12.0,
        attention_multiplier=0.0625, residual_multiplier=0.22, logits_scaling=8.0, shared_intermediate_size=160,
    ),
    "olmoe": case("olmoe", vocab_size=333, num_experts=6, num_experts_per_tok=3, norm_topk_prob=False),
    "glm4-moe": case(
        "glm4_moe", **ODD, partial_rotary_factor=0.5, attention_bias=True, use_qk_norm=True, first_k_dense_replace=1,
        n_routed_experts=6, num_experts_per_tok=3, n_shared_experts=2, moe_intermediate_size=64, n_group=1,
        topk_group=1, routed_scaling_factor=2.5, norm_topk_prob=True, num_nextn_predict_layers=0,
    ),
    "glm4.5-air": case(  # without norms of heads
        "glm4_moe", partial_rotary_factor=0.5, attention_bias=True, use_qk_norm=False, n_routed_experts=8,
        num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=64, n_group=4, topk_group=2,
        num_nextn_predict_layers=0,
    ),
    "ernie4-5-moe": case(
        "ernie4_5_moe", **ODD, moe_num_experts=6, moe_k=3, moe_intermediate_size=64, moe_num_shared_experts=2,
        moe_layer_start_index=1, moe_layer_interval=1, moe_layer_end_index=-1, use_bias=False, rope_theta=500000.0,
        tie_word_embeddings=True,
    ),
    "apertus": case("apertus", **ODD, hidden_act="xielu", **rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
    )),
    "granite-swa": case(
        "granite_swa", **ODD, num_hidden_layers=5, sliding_window=24, embedding_multiplier=12.0,
        attention_multiplier=0.0625, residual_multiplier=0.22, logits_scaling=8.0,
        layer_rope_theta=[0, 10000.0, 10000.0, 10000.0, 500000.0],
    ),
    "granite-4-h": case(
        "granitemoehybrid", **GRANITE4, num_hidden_layers=4, num_key_value_heads=1, num_local_experts=6,
        num_experts_per_tok=3, layer_types=["mamba", "attention", "mamba", "mamba"], mamba_n_groups=2,
        position_embedding_type="nope",
    ),
    "granite-4-h-dense": case(  # as transformers 5 writes it
        "granitemoehybrid", **GRANITE4, num_local_experts=0, num_experts_per_tok=0, mamba_n_groups=1,
        layer_types=["linear_attention", "full_attention", "linear_attention"], tie_word_embeddings=True,
        mamba_conv_bias=False, mamba_proj_bias=True, time_step_limit=[0.5, 2.0],
    ),
    "granite-4-micro": case(
        "granitemoehybrid", **GRANITE4, num_local_experts=0, num_experts_per_tok=0, layer_types=["attention"] * 3,
        position_embedding_type="rope", mamba_n_groups=1,
    ),
    "nemotron-h": case(
        "nemotron_h", **NEMOTRON, hybrid_override_pattern="M-*-M", num_hidden_layers=5, n_groups=2, mlp_bias=True,
        use_bias=True, attention_bias=True,
    ),
    "nemotron-3": case(
        "nemotron_h", **NEMOTRON, hybrid_override_pattern="ME*EM", num_hidden_layers=5, n_groups=3, **NEMOTRON_EXPERTS,
    ),
    "nemotron-3-latent": case(
        "nemotron_h", **NEMOTRON, layers_block_type=["linear_attention", "moe", "full_attention", "moe", "mlp"],
        num_hidden_layers=5, n_groups=1, moe_latent_size=32, **{**NEMOTRON_EXPERTS, "n_group": 2, "topk_group": 1},
    ),
    "falcon-h1": case(
        "falcon_h1", **ODD, **FALCON_H1, mamba_n_groups=1, mamba_rms_norm=False,
        attention_in_multiplier=0.75, attention_out_multiplier=0.9375, ssm_in_multiplier=1.25, ssm_out_multiplier=0.5,
        embedding_multiplier=5.5, lm_head_multiplier=0.125, key_multiplier=0.5, mlp_multipliers=[0.75, 0.25],
        ssm_multipliers=[0.75, 0.5, 0.25, 0.875, 0.625],
    ),
    "falcon-h1-norm": case(
        "falcon_h1", **FALCON_H1, mamba_n_groups=3, mamba_rms_norm=True, mamba_norm_before_gate=False,
        num_key_value_heads=1, tie_word_embeddings=True, key_multiplier=0.5,
    ),
    "falcon-h1-norm-first": case(
        "falcon_h1", **FALCON_H1, mamba_n_groups=2, mamba_rms_norm=True, mamba_norm_before_gate=True,
        projectors_bias=True, mamba_proj_bias=True, attention_bias=True, mlp_bias=True, ssm_in_multiplier=1.25,
        attention_in_multiplier=0.75, mlp_multipliers=[0.75, 0.25], ssm_multipliers=[0.75, 0.5, 0.25, 0.875, 0.625],
    ),
    "granite-moe-swa": case(
        "granitemoe_swa", num_hidden_layers=5, sliding_window=24, embedding_multiplier=12.0, num_local_experts=6,
        num_experts_per_tok=3, attention_multiplier=0.0625, residual_multiplier=0.22, logits_scaling=8.0,
        shared_intermediate_size=160,
    ),
    "afmoe": case(
        "afmoe", **ODD, num_hidden_layers=5, num_dense_layers=1, num_experts=6, num_experts_per_tok=3,
        num_shared_experts=2, moe_intermediate_size=64, route_scale=2.5, sliding_window=24, mup_enabled=True,
        global_attn_every_n_layers=4,
    ),
    "laguna": case(
        "laguna", **ODD, num_hidden_layers=4, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=64,
        shared_expert_intermediate_size=96, sliding_window=24, moe_routed_scaling_factor=2.5, rope_theta=...,
        num_attention_heads_per_layer=[2, 3, 3, 2], gating="per-head",
        layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 500000.0,
                "partial_rotary_factor": 0.5,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        },
    ),
    "laguna-per-element": case(
        "laguna", **ODD, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=64, gating="per-element",
        shared_expert_intermediate_size=96, rope_theta=...,
    ),
    "gpt-oss": case(
        "gpt_oss", **ODD, num_hidden_layers=4, num_local_experts=6, num_experts_per_tok=3, sliding_window=24,
        rope_theta=150000.0, attention_bias=True, swiglu_limit=1.0, **rope(
            "yarn", factor=32.0, original_max_position_embeddings=64, beta_fast=32.0, beta_slow=1.0, truncate=False,
        ),
    ),
    "deepseek-v2-lite": case(
        "deepseek_v2", **{**LATENT, "q_lora_rank": None}, num_hidden_layers=2, hidden_size=96,
        norm_topk_prob=False, topk_method="greedy", n_group=1,
        topk_group=1, routed_scaling_factor=1.0, aux_loss_alpha=0.001, scoring_func="softmax",
        rope_scaling={
            "type": "yarn", "factor": 40, "original_max_position_embeddings": 32, "beta_fast": 32, "beta_slow": 1,
            "mscale": 0.707, "mscale_all_dim": 0.707,
        },
    ),
    "deepseek-v2": case(
        "deepseek_v2", **LATENT, hidden_size=96, n_group=3, topk_group=2, topk_method="group_limited_greedy",
        norm_topk_prob=False, routed_scaling_factor=16.0, attention_bias=True,
    ),
    "deepseek-v3": case(
        "deepseek_v3", **{**LATENT, "n_routed_experts": 8}, num_hidden_layers=2, n_group=4, topk_group=2,
        topk_method="noaux_tc",
        scoring_func="sigmoid", routed_scaling_factor=2.5, norm_topk_prob=True, **rope(
            "yarn", factor=8.0, original_max_position_embeddings=32, mscale=1.0, mscale_all_dim=1.0,
        ),
    ),
    "deepseek-v3-one-head": case(
        "deepseek_v3", **{**LATENT, "num_attention_heads": 1, "num_key_value_heads": 1, "v_head_dim": 64}, n_group=1,
        topk_group=1, rope_interleave=False, routed_scaling_factor=1.0, norm_topk_prob=False,
    ),
    "glm4-moe-lite": case(
        "glm4_moe_lite", **LATENT, n_group=1, topk_group=1, topk_method="noaux_tc", routed_scaling_factor=1.8,
        norm_topk_prob=True, partial_rotary_factor=1.0, rope_scaling=None, rope_theta=1000000, attention_bias=False,
    ),
    "kimi-linear": case(
        "kimi_linear", **KDA, rope_theta=..., moe_renormalize=True, num_expert_group=1, routed_scaling_factor=2.446,
        model_max_length=256, max_position_embeddings=..., moe_router_activation_func="sigmoid", num_experts=6,
        num_experts_per_token=3, num_shared_experts=2, first_k_dense_replace=1, moe_layer_freq=1, mla_use_nope=True,
        linear_attn_config={
            "full_attn_layers": [2, 4], "kda_layers": [1, 3, 5], "head_dim": 32, "num_heads": 3,
            "short_conv_kernel_size": 4,
        },
    ),
    "ling-3": case(
        "bailing_hybrid", **{**KDA, "topk_group": 2}, rope_theta=10000.0, head_dim=32, layer_group_size=2, n_group=4,
        num_experts=8, num_experts_per_tok=3, num_shared_experts=1, first_k_dense_replace=1, kda_safe_gate=True,
        kda_lower_bound=-5.0, short_conv_kernel_size=3, norm_topk_prob=True, num_nextn_predict_layers=0,
        routed_scaling_factor=2.5,
    ),
    "ministral3": case("ministral3", **ODD, rope_theta=..., rope_parameters={
        "rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 24, "rope_theta": 1e6,
        "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
    }),
    "mellum": case(
        "mellum", **{**EXPERTS, **ODD}, num_hidden_layers=4, sliding_window=24, norm_topk_prob=True, rope_theta=...,
        layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 500000.0,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
        },
    ),
}  # fmt: skip
