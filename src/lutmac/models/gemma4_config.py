"""What a Gemma 4 checkpoint says of itself, in config.json or in a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Graph
from lutmac.models import Tensors
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_activation, read_decoder_config, read_ropes_by_type, read_windows
from lutmac.models.gemma2 import with_gemma_scales
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig
from lutmac.models.shared_keys import layers_of_keys

PERIOD = 6  # the last layer of each period sees all positions
LOCAL_THETA, GLOBAL_THETA = 10000.0, 1e6
FULL_HEAD_DIM = 512
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 262144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
    "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 512, "vocab_size_per_layer_input": 262144,
    "hidden_size_per_layer_input": 256,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": LOCAL_THETA},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": GLOBAL_THETA},
    },
}  # fmt: skip
# Where these differ: it has no embeddings of layers.
UNIFIED: Mapping[str, Any] = {
    "max_position_embeddings": 262144, "sliding_window": 1024, "hidden_size_per_layer_input": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Gemma4Config(MixtureConfig):
    """A mixture of experts beside a dense MLP, without experts the MLP alone.

    per_layer_width: floats of each layer's own embeddings, 0 for none; per_layer_vocab: rows of their table.
    keys_are_values: full layers have no product for values; None: a checkpoint's tensors tell.
    """

    per_layer_width: int = 0
    per_layer_vocab: int = 0
    keys_are_values: bool | None = None

    def completed(self, tensors: Tensors, build: Callable[[Self], Graph]) -> Self:
        """A full layer's tensors tell whether it has a product for values."""
        known = self
        if known.keys_are_values is None:
            full = (i for i in range(self.num_hidden_layers) if not self.window(i) and self.keys_from(i) == i)
            hf = f"model.layers.{next(full, 0)}.self_attn"
            known = replace(self, keys_are_values=not tensors.has(f"{hf}.v_proj.weight"))
        return super(Gemma4Config, known).completed(tensors, build)


def read_config(config: Mapping[str, Any]) -> Gemma4Config:
    """The keys of a config.json, of transformers or of the hub's repositories."""
    unified = str(config.get("model_type", "")).startswith("gemma4_unified")
    config = {**DEFAULTS, **(UNIFIED if unified else {}), **config}
    config["rope_parameters"] = config["rope_parameters"] or DEFAULTS["rope_parameters"]
    if config.get("use_bidirectional_attention") == "vision":  # of images alone
        config["use_bidirectional_attention"] = None
    read = MetadataReader(config, "")
    decoder = read_decoder_config({**config, "rope_parameters": None, "rope_scaling": None})
    layers = decoder.num_hidden_layers
    windows = read_windows(
        _full_at_the_end(config), layers, lambda layer: (layer + 1) % PERIOD != 0 and layer != layers - 1
    )
    sizes, kv_heads = _full_layers(config, decoder, windows)
    rope, local_rope = read_ropes_by_type(config, max(sizes), LOCAL_THETA, local_head_dim=decoder.head_dim)
    keys_of = layers_of_keys(windows, layers, read.integer("num_kv_shared_layers", 0, low=0))
    width, wide = decoder.intermediate_size, config.get("use_double_wide_mlp") is True
    decoder = replace(
        with_gemma_scales(decoder, 1.0, read),
        rope=rope,
        local_rope=local_rope,
        windows=windows,
        layer_head_dims=sizes,
        layer_kv_heads=kv_heads,
        keys_of=keys_of,
        layer_widths=tuple(width * 2 if wide and keys_of and keys_of[i] != i else width for i in range(layers)),
        activation=read_activation(config, "hidden_activation"),
    )
    experts = config.get("enable_moe_block") is True
    return Gemma4Config(
        **vars(decoder),
        num_experts=read.integer("num_experts") if experts else 0,
        num_experts_per_tok=read.integer("top_k_experts") if experts else 0,
        moe_intermediate_size=read.integer("moe_intermediate_size") if experts else 0,
        per_layer_width=read.integer("hidden_size_per_layer_input", 0, low=0),
        per_layer_vocab=read.integer("vocab_size_per_layer_input", decoder.vocab_size),
        keys_are_values=config.get("attention_k_eq_v") is True,
    )


def _full_at_the_end(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """With a last layer that sees all positions, whatever the configuration says: so transformers has it."""
    types = config.get("layer_types")
    return {**config, "layer_types": [*types[:-1], "full_attention"]} if isinstance(types, list) and types else config


def _full_layers(
    config: Mapping[str, Any], decoder: DecoderConfig, windows: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For each layer the size of its heads, and how many of keys and values it has.

    ``per_layer_config`` has them by layer, in files of transformers 5; others say what holds of all full layers.
    """
    layers, read = decoder.num_hidden_layers, MetadataReader(config, "")
    by_layer = config.get("per_layer_config")
    if by_layer is not None:
        if not isinstance(by_layer, Mapping) or not all(isinstance(entry, Mapping) for entry in by_layer.values()):
            raise CheckpointError(f"per_layer_config is {by_layer!r:.60}, expected an object for each layer")
        readers = [MetadataReader(by_layer.get(str(layer), by_layer.get(layer, {})), "") for layer in range(layers)]
        return (
            tuple(reader.integer("head_dim", decoder.head_dim) for reader in readers),
            tuple(reader.integer("num_key_value_heads", decoder.num_key_value_heads) for reader in readers),
        )
    size = read.integer("global_head_dim", FULL_HEAD_DIM)
    heads = decoder.num_key_value_heads
    if config.get("attention_k_eq_v", True) is True:
        heads = read.integer("num_global_key_value_heads", heads)
    windowed = windows or (0,) * layers
    return (
        tuple(decoder.head_dim if window else size for window in windowed),
        tuple(decoder.num_key_value_heads if window else heads for window in windowed),
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> Gemma4Config:
    """GGUF's keys, of which some have a number for each layer."""
    read = MetadataReader({"gemma4.rope.freq_base": GLOBAL_THETA, **metadata}, "gemma4")
    layers = read.integer("block_count")
    kv_heads = read.for_layers("attention.head_count_kv", layers, read.integer("attention.head_count"))
    widths = read.for_layers("feed_forward_length", layers)
    size, of_local = read.integer("attention.key_length"), ("attention.key_length_swa", "rope.dimension_count_swa")
    local_size = read.integer("attention.key_length_swa", size)
    of_all = {key: value for key, value in read.metadata.items() if key.removeprefix("gemma4.") not in of_local}
    one_for_all = {"attention.head_count_kv": kv_heads[0], "feed_forward_length": widths[0]}
    of_all |= {f"gemma4.{key}": value for key, value in one_for_all.items()}
    of_all.pop("gemma4.attention.value_length_swa", None)
    decoder = read_gguf_decoder_config(of_all, "gemma4", "half_split")
    layers = decoder.num_hidden_layers
    windows = read_gguf_windows(read, layers, lambda layer: (layer + 1) % PERIOD != 0)
    rotary_dim = read.integer("rope.dimension_count_swa", local_size)
    local_rope = RopeConfig("half_split", rotary_dim, read.number("rope.freq_base_swa", LOCAL_THETA))
    decoder = replace(
        with_gemma_scales(decoder, 1.0, read),
        head_dim=local_size,
        layer_head_dims=tuple(local_size if window else size for window in windows or (0,) * layers),
        layer_kv_heads=kv_heads[:layers],
        layer_widths=widths[:layers],
        keys_of=layers_of_keys(windows, layers, read.integer("attention.shared_kv_layers", 0, low=0)),
        windows=windows,
        local_rope=local_rope,
        activation="gelu_tanh",
    )
    experts = read.integer("expert_count", 0, low=0)
    return Gemma4Config(
        **vars(decoder),
        num_experts=experts,
        num_experts_per_tok=read.integer("expert_used_count") if experts else 0,
        moe_intermediate_size=read.same_for_all_layers("expert_feed_forward_length") if experts else 0,
        per_layer_width=read.integer("embedding_length_per_layer_input", 0, low=0),
        per_layer_vocab=decoder.vocab_size,
    )


def gguf_metadata(config: Gemma4Config) -> dict[str, Any]:
    """GGUF's keys that other families lack or have otherwise, without their prefix."""
    windows = config.windows or (0,) * config.num_hidden_layers
    full = next(
        (size for size, window in zip(config.layer_head_dims, windows, strict=True) if not window), config.head_dim
    )
    local = config.rope if config.local_rope is None else config.local_rope
    shared = sum(source != layer for layer, source in enumerate(config.keys_of))
    found = {
        f"attention.{part}_length{which}": size
        for part in ("key", "value")
        for which, size in (("", full), ("_swa", config.head_dim))
    }
    return {
        **found,
        "attention.head_count_kv": np.array(config.layer_kv_heads, np.int32),
        "feed_forward_length": np.array(config.layer_widths, np.int32),
        "attention.sliding_window_pattern": np.array(windows) > 0,
        "attention.shared_kv_layers": shared,
        "embedding_length_per_layer_input": config.per_layer_width,
        "rope.dimension_count_swa": local.rotary_dim,
    }
