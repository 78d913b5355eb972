"""What configurations of architectures say, and the one clear error of those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError
from lutmac.models import REGISTRY, architecture_name, find_architecture
from lutmac.models.config import DecoderConfig

CONFIG = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def read(model_type: str, **changes: Any) -> DecoderConfig:
    config = find_architecture(model_type).read_config({**CONFIG, **changes})
    assert isinstance(config, DecoderConfig)
    return config


def rope(kind: object, **values: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": kind, **values}}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_registered_architecture_reads_a_config(name: str) -> None:
    assert read(name, num_experts=8).hidden_size == 64


@pytest.mark.parametrize(
    ("model_type", "changes", "error", "message"),
    [
        ("llama", {"hidden_size": None}, CheckpointError, "hidden_size is missing"),
        ("llama", {"hidden_size": 66}, CheckpointError, "not a multiple of 4 attention heads"),
        ("llama", {"num_key_value_heads": 3}, CheckpointError, "not a multiple of 3 key-value heads"),
        ("llama", {"head_dim": 10}, UnsupportedModelError, "4 heads of size 10 are 40 wide"),
        ("llama", {"head_dim": 33}, UnsupportedModelError, "head size 33 is not an even number up to 256"),
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
        ("gemma3", {"text_config": {}}, UnsupportedModelError, "vision tower"),
        ("gemma3", {"rope_parameters": {"full_attention": 3}}, CheckpointError, "rope_parameters has no object"),
        ("granite", {"logits_scaling": 0}, CheckpointError, "logits are divided by 0"),
        ("mixtral", {"num_experts_per_tok": 9}, CheckpointError, "a token goes to 9 of 8 experts"),
        ("qwen3_moe", {"moe_intermediate_size": 100}, UnsupportedModelError, "moe_intermediate_size 100"),
        ("qwen3_moe", {"mlp_only_layers": 3}, CheckpointError, "mlp_only_layers is 3"),
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
