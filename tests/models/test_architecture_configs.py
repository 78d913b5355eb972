"""What configurations of architectures say, and the one clear error of those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError
from lutmac.models import REGISTRY, architecture_name, find_architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.gemma4_config import Gemma4Config
from lutmac.models.granite_hybrid import GraniteHybridConfig
from lutmac.models.nemotron_h import NemotronHConfig

CONFIG = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def read(model_type: str, /, **changes: Any) -> DecoderConfig:
    config = find_architecture(model_type).read_config({**CONFIG, **changes})
    assert isinstance(config, DecoderConfig)
    return config


def rope(kind: object, **values: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": kind, **values}}


GGUF_ALONE = ("bailingmoe2", "maple")


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - set(GGUF_ALONE)))
def test_every_registered_architecture_reads_a_config(name: str) -> None:
    assert read(name, num_experts=8).hidden_size == 64


@pytest.mark.parametrize("name", GGUF_ALONE)
def test_what_comes_as_gguf_alone_says_so_of_a_directory(name: str) -> None:
    with pytest.raises(UnsupportedModelError, match="read from GGUF files alone"):
        read(name)


@pytest.mark.parametrize(
    ("model_type", "changes", "error", "message"),
    [
        ("llama", {"hidden_size": None}, CheckpointError, "hidden_size is missing"),
        ("llama", {"hidden_size": 66}, CheckpointError, "not a multiple of 4 attention heads"),
        ("llama", {"num_key_value_heads": 3}, CheckpointError, "not a multiple of 3 key-value heads"),
        ("llama", {"head_dim": 10}, UnsupportedModelError, "4 heads of size 10 are 40 wide"),
        ("llama", {"head_dim": 33}, UnsupportedModelError, "head size 33 is not an even number up to 576"),
        ("llama", {"hidden_act": "mish"}, UnsupportedModelError, "activation 'mish' is not supported"),
        ("llama", {"rope_scaling": "linear"}, CheckpointError, "rope_scaling is 'linear', expected an object"),
        ("llama", rope("mrope"), UnsupportedModelError, "rope scaling 'mrope' is not supported; supported: default"),
        ("llama", rope("linear", factor=0.0), CheckpointError, "factor is 0.0, expected one above 0"),
        ("llama", rope("linear", factor="4"), CheckpointError, "expected a finite number"),
        ("llama", rope(4), CheckpointError, "expected a string"),
        (
            "llama",
            rope("llama3", factor=8.0, low_freq_factor=4.0, high_freq_factor=4.0),
            CheckpointError,
            "low_freq_factor 4.0 is not below its high_freq_factor 4.0",
        ),
        ("phi3", rope("longrope", factor=2.0, long_factor=[1.0]), CheckpointError, "short_factor is None"),
        ("phi3", rope("longrope", factor=2.0, short_factor=["1"]), CheckpointError, "expected a list of numbers"),
        ("phi3", {"partial_rotary_factor": 1.5}, CheckpointError, "rope rotates 24 dimensions of heads of 16"),
        ("qwen2", {"use_sliding_window": True, "layer_types": ["x"] * 3, "sliding_window": 8}, LutmacError, "type 'x'"),
        ("gemma2", {"layer_types": ["full_attention"]}, CheckpointError, "layer_types is not a list of 3 types"),
        ("smollm3", {"no_rope_layers": [1]}, CheckpointError, "no_rope_layers is not a list of 3 numbers"),
        ("gemma2", {"use_bidirectional_attention": True}, UnsupportedModelError, "both directions"),
        ("gemma3", {"use_bidirectional_attention": "vision"}, UnsupportedModelError, "both directions"),
        (
            "gemma3",
            {"use_bidirectional_attention": True, "attn_logit_softcapping": 50.0},
            UnsupportedModelError,
            "softcap of attention in both directions",
        ),
        ("bert", {"is_decoder": True}, UnsupportedModelError, "bert with is_decoder True"),
        ("bert", {"position_embedding_type": "relative_key"}, UnsupportedModelError, "position_embedding_type"),
        (
            "xlm-roberta",
            {"model_type": "xlm-roberta", "pad_token_id": 9999},
            CheckpointError,
            "max_position_embeddings leaves -",
        ),
        ("nomic_bert", {"moe_every_n_layers": 2}, CheckpointError, "num_local_experts is missing"),
        (
            "nomic_bert",
            {"moe_every_n_layers": 2, "num_shared_experts": 1},
            UnsupportedModelError,
            "num_shared_experts 1",
        ),
        ("modernbert", {"classifier_pooling": "max"}, UnsupportedModelError, "classifier_pooling 'max'"),
        ("qwen2", {"is_causal": False}, UnsupportedModelError, "both directions"),
        ("gemma3", {"rope_parameters": {"full_attention": 3}}, CheckpointError, "rope_parameters has no object"),
        (
            "gemma4",
            {"per_layer_config": [1]},
            CheckpointError,
            "per_layer_config is .* expected an object for each layer",
        ),
        ("gemma4", {"num_kv_shared_layers": 3}, CheckpointError, "3 of 3 layers share keys and values"),
        ("granite", {"logits_scaling": 0}, CheckpointError, "logits are divided by 0"),
        ("mixtral", {"num_experts_per_tok": 9}, CheckpointError, "a token goes to 9 of 8 experts"),
        ("qwen3_moe", {"moe_intermediate_size": 100}, UnsupportedModelError, "moe_intermediate_size 100"),
        ("qwen3_moe", {"mlp_only_layers": 3}, CheckpointError, "mlp_only_layers is 3"),
        ("olmoe", {"clip_qkv": 8.0}, UnsupportedModelError, r"cut off at 8.0 \(clip_qkv\)"),
        ("exaone4", {"sliding_window_pattern": "LX"}, CheckpointError, "expected a number or letters L and G"),
        ("laguna", {"moe_router_logit_softcapping": 3.0}, UnsupportedModelError, "moe_router_logit_softcapping 3.0"),
        ("laguna", {"num_attention_heads_per_layer": [4]}, CheckpointError, "are not 3 numbers above 0"),
        (
            "laguna",
            {"num_attention_heads_per_layer": [4, 3, 4]},
            CheckpointError,
            "3 attention heads are not a multiple",
        ),
        ("laguna", {"mlp_layer_types": ["dense"]}, CheckpointError, "mlp_layer_types is not a list of 3 times"),
        ("granite_swa", {"layer_rope_theta": [1e4]}, CheckpointError, "layer_rope_theta is not a list of 3 numbers"),
        ("apertus", {"hidden_act": "silu"}, CheckpointError, "hidden_act is 'silu', expected 'xielu'"),
        ("glm4_moe", {"n_group": 3}, CheckpointError, "128 experts are not in 3 groups of which 3 count"),
        ("granitemoehybrid", {"layer_types": ["mamba"]}, CheckpointError, "layer_types is not a list of 3 types"),
        ("granitemoehybrid", {"layer_types": ["x"] * 3}, UnsupportedModelError, "layers of type 'x'"),
        ("granitemoehybrid", {"mamba_n_groups": 3}, CheckpointError, "128 Mamba2 heads are not a multiple of 3 groups"),
        ("granitemoehybrid", {"mamba_d_conv": 17}, UnsupportedModelError, "convolutions over 17 positions"),
        ("granitemoehybrid", {"time_step_limit": [1.0]}, CheckpointError, r"time_step_limit is \[1.0\], expected two"),
        ("granitemoehybrid", {"time_step_limit": [2.0, 1.0]}, CheckpointError, "the lower one first"),
        ("nemotron_h", {"hybrid_override_pattern": "MX"}, UnsupportedModelError, "layers of type 'X'"),
        ("nemotron_h", {"layers_block_type": 3}, CheckpointError, "layers_block_type is 3, expected what each layer"),
        ("nemotron_h", {"mamba_hidden_act": "gelu"}, UnsupportedModelError, "Mamba2 with the activation 'gelu'"),
        (
            "nemotron_h",
            {"mamba_head_dim": 1, "mamba_num_heads": 8},
            UnsupportedModelError,
            "are 8 wide, not a multiple",
        ),
        ("falcon_h1", {"mamba_d_head": 16}, CheckpointError, "128 Mamba2 heads of size 16 are not mamba_d_ssm 1024"),
        ("falcon_h1", {"ssm_multipliers": [1.0]}, CheckpointError, r"ssm_multipliers is \[1.0\], expected 5 numbers"),
        ("muse_glimmer", {"layer_rope_theta": [1e4, 2e4, 0]}, UnsupportedModelError, "layers with different ropes"),
    ],
)
def test_odd_configurations_are_one_clear_error(
    model_type: str, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(model_type, **changes)


def test_an_unknown_architecture_is_named_with_all_that_are_supported() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'mamba' is not supported; supported: .*gemma3.*qwen3_moe"):
        find_architecture("mamba")


def test_models_of_1bitllm_call_themselves_llamas() -> None:
    assert architecture_name("llama", {"architectures": ["BitnetForCausalLM"]}) == "bitnet"
    assert architecture_name("llama", {"architectures": ["LlamaForCausalLM"]}) == "llama"
    assert architecture_name("llama", {"architectures": [7]}) == "llama"
    assert architecture_name("llama", {}) == "llama"


def test_windows_of_gguf_files() -> None:
    metadata = {
        "context_length": 512, "embedding_length": 64, "block_count": 7, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.layer_norm_rms_epsilon": 1e-6, "vocab_size": 320,
        "attention.sliding_window": 32,
    }  # fmt: skip

    def windows(name: str, **changes: Any) -> tuple[int, ...]:
        keys = {**metadata, **changes}
        config = find_architecture(name).read_gguf_config({f"{name}.{key}": value for key, value in keys.items()})
        assert isinstance(config, DecoderConfig)
        return config.windows

    assert windows("gemma2") == (32, 0, 32, 0, 32, 0, 32)
    assert windows("gemma3") == (32, 32, 32, 32, 32, 0, 32)
    pattern = {"attention.sliding_window_pattern": [True, False, True, True, False, True, False]}
    assert windows("gemma3", **pattern) == (32, 0, 32, 32, 0, 32, 0)
    assert windows("gemma3", **{"attention.sliding_window_pattern": 3}) == (32, 32, 0, 32, 32, 0, 32)
    assert windows("olmo2") == (32, 32, 32, 0, 32, 32, 32)
    assert windows("olmo2", **pattern) == (32, 0, 32, 32, 0, 32, 0)
    assert windows("olmo2", **{"attention.sliding_window": 0}) == ()


def read_gguf(name: str, **changes: Any) -> DecoderConfig:
    keys = {
        "context_length": 512, "embedding_length": 64, "block_count": 3, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.layer_norm_rms_epsilon": 1e-6, "vocab_size": 320, "logit_scale": 1.0,
        **changes,
    }  # fmt: skip
    config = find_architecture(name).read_gguf_config({f"{name}.{key}": value for key, value in keys.items()})
    assert isinstance(config, DecoderConfig)
    return config


def test_what_llama_cpp_takes_for_keys_that_a_gguf_file_leaves_out() -> None:
    """llama-model.cpp, and its models/*.cpp."""
    gemma2 = read_gguf("gemma2")
    assert (gemma2.attention_softcap, gemma2.logits_softcap, gemma2.windows) == (50.0, 30.0, (4096, 0, 4096))
    assert read_gguf("llama", **{"rope.scaling.factor": 4.0}).rope.scaling.kind == "linear"
    assert read_gguf("granite").no_rope_layers == ()
    assert read_gguf("granite", **{"rope.scaling.finetuned": False}).no_rope_layers == (0, 1, 2)
    experts = {"feed_forward_length": 64, "expert_count": 4, "expert_used_count": 2}
    assert read_gguf("qwen3moe", **experts).moe_intermediate_size == 32  # type: ignore[attr-defined]


def test_the_layers_of_hybrids_in_gguf_files() -> None:
    mamba = {
        "ssm.conv_kernel": 4, "ssm.inner_size": 128, "ssm.state_size": 16, "ssm.time_step_rank": 8,
        "ssm.group_count": 2, "attention.head_count_kv": [0, 2, 0],
    }  # fmt: skip
    granite = read_gguf("granitehybrid", **mamba)
    assert isinstance(granite, GraniteHybridConfig)
    assert (granite.attention_layers, granite.num_experts, granite.mamba.head_dim) == ((1,), 0, 16)
    nemotron = read_gguf("nemotron_h", **mamba, feed_forward_length=[0, 0, 96])
    assert isinstance(nemotron, NemotronHConfig)
    assert (nemotron.kinds, nemotron.no_rope_layers) == (("mamba", "attention", "mlp"), (0, 1, 2))
    with pytest.raises(CheckpointError, match=r"nemotron_h\.ssm\.inner_size 130 is not a multiple of 8 heads"):
        read_gguf("nemotron_h", **{**mamba, "ssm.inner_size": 130})


def test_bounds_of_time_steps() -> None:
    """As the hub's files have them, and as transformers 5 writes infinity."""
    for given, expected in (
        ([0.0, float("inf")], (0.0, None)),
        ([0.001, {"__float__": "Infinity"}], (0.001, None)),
        ([0.001, 0.1], (0.001, 0.1)),
        (None, (0.0, None)),
    ):
        mamba = read("granitemoehybrid", time_step_limit=given).mamba  # type: ignore[attr-defined]
        assert (mamba.time_step_min, mamba.time_step_max) == expected
    nemotron = {"hybrid_override_pattern": "M*-", "time_step_limit": [0.0, float("inf")]}
    for keys, least in (({}, 0.001), ({"time_step_min": 0.01}, 0.01), ({"mamba_dt_min": 0.1}, 0.1)):
        mamba = read("nemotron_h", **nemotron, **keys).mamba  # type: ignore[attr-defined]
        assert (mamba.time_step_min, mamba.time_step_max) == (least, None)


def test_layers_that_guess_further_tokens_are_none_of_the_model() -> None:
    assert read_gguf("qwen3", nextn_predict_layers=1).num_hidden_layers == 2
    with pytest.raises(CheckpointError, match="nextn_predict_layers is 3 of 3 layers"):
        read_gguf("qwen3", nextn_predict_layers=3)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("qwen2", {"attention.causal": False}, r"both directions \(qwen2.attention.causal\)"),
        ("qwen3", {"embedding_length_out": 128}, "qwen3.embedding_length_out 128 beside embedding_length 64"),
        ("llama", {"rope.dimension_count": 16, "rope.dimension_count_swa": 8}, "llama.rope.dimension_count_swa 8"),
        ("qwen3moe", {"expert_count": 8, "expert_used_count": 2, "expert_gating_func": 9}, "scores of kind 9"),
        ("phi3", {"rope.scaling.type": "longrope", "rope.scaling.factor": 2.0}, "rope.scaling.factor 2.0 of longrope"),
    ],
)
def test_what_a_gguf_file_may_say_and_no_graph_has_is_refused_by_its_key(
    name: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        read_gguf(name, **keys)


def test_gemma4_of_the_hub_says_null_where_it_has_none() -> None:
    """Its 31B has no embeddings of layers, and fewer heads of keys and values where layers see all positions."""
    without = {"hidden_size_per_layer_input": None, "vocab_size_per_layer_input": None, "rope_parameters": None}
    config = read("gemma4", **without, attention_k_eq_v=True, num_global_key_value_heads=1, head_dim=32)
    assert isinstance(config, Gemma4Config)
    assert (config.per_layer_width, config.keys_are_values, config.keys_of) == (0, True, ())
    assert (config.layer_head_dims, config.layer_kv_heads) == ((32, 32, 512), (2, 2, 1))
    assert config.rope.rope(128).inverse_frequency[63] > 1e-9 > config.rope.rope(128).inverse_frequency[64]


@pytest.mark.parametrize("name", ["kimi_k2", "deepseek_v4", "deepseek4", "glm_moe_dsa", "glm-dsa", "qwen4_exp"])
def test_models_that_are_too_large_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"'{name}' \(.+\) is too large"):
        find_architecture(name)
