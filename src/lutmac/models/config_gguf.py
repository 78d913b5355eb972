"""Reads a decoder's configuration from a GGUF file's metadata (docs/gguf.md in ggml-org/ggml)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import RopeStyle
from lutmac.models.config import DecoderConfig
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig, RopeScaling


def read_gguf_decoder_config(metadata: Mapping[str, Any], architecture: str, style: RopeStyle) -> DecoderConfig:
    """The keys that all families have, by Hugging Face's names.

    architecture: the prefix of the keys. style: GGUF files of some architectures hold q and k in the order that pairs
    neighbours. Raises CheckpointError for keys that are missing or malformed.
    """
    read = MetadataReader(metadata, architecture)
    hidden_size = read.integer("embedding_length")
    heads = read.same_for_all_layers("attention.head_count")
    if not read.has("attention.key_length") and hidden_size % heads:
        raise CheckpointError(f"{architecture}.embedding_length {hidden_size} is not a multiple of {heads} heads")
    head_dim = read.integer("attention.key_length", hidden_size // heads)
    if read.integer("attention.value_length", head_dim) != head_dim:
        raise UnsupportedModelError(
            f"values of another size than keys ({architecture}.attention.value_length) are not supported"
        )
    context = read.integer("context_length")
    tokens = metadata.get("tokenizer.ggml.tokens")
    rotary_dim = read.integer("rope.dimension_count", head_dim)
    theta = read.number("rope.freq_base", 10000.0) or 10000.0
    return DecoderConfig(
        vocab_size=read.integer("vocab_size") if tokens is None else len(tokens),
        hidden_size=hidden_size,
        intermediate_size=read.same_for_all_layers("feed_forward_length"),
        num_hidden_layers=read.integer("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=read.same_for_all_layers("attention.head_count_kv", heads),
        head_dim=head_dim,
        rms_norm_eps=read.number("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=context,
        rope=RopeConfig(style, rotary_dim, theta, scaling_from_gguf(read, context)),
    )


def scaling_from_gguf(read: MetadataReader, context: int) -> RopeScaling:
    """The keys ``rope.scaling.*``, and ``rope.scale_linear`` of older files. Factors of longrope are tensors."""
    kind = read.text("rope.scaling.type", "linear" if read.has("rope.scale_linear") else "none")
    factor = read.number("rope.scaling.factor", read.number("rope.scale_linear", 1.0))
    if kind == "longrope" or (kind == "none" and read.has("rope.scaling.attn_factor")):
        original = read.integer("rope.scaling.original_context_length", context)
        return RopeScaling("longrope", 1.0, original, read.number("rope.scaling.attn_factor", 1.0))
    if kind == "none" or factor in (0.0, 1.0):
        return RopeScaling()
    if kind == "linear":
        return RopeScaling("linear", factor)
    if kind == "yarn":
        recommended = RopeScaling("yarn", factor).attention_scale()
        return RopeScaling(
            "yarn",
            factor,
            read.integer("rope.scaling.original_context_length", context),
            read.number("rope.scaling.attn_factor", 1.0) * recommended,
            read.number("rope.scaling.yarn_beta_fast", 32.0),
            read.number("rope.scaling.yarn_beta_slow", 1.0),
        )
    raise UnsupportedModelError(f"rope scaling {kind!r} is not supported; supported: none, linear, yarn, longrope")


def read_gguf_windows(read: MetadataReader, layers: int, windowed: Callable[[int], bool]) -> tuple[int, ...]:
    """``attention.sliding_window``, of the layers that ``sliding_window_pattern`` gives it to, or else the family.

    The pattern has a truth for each layer, or is n: the n-th layer of each run of n is without. Empty where the file
    has no window.
    """
    window = read.integer("attention.sliding_window", 0, low=0)
    if not window:
        return ()
    pattern: Any = read.metadata.get(f"{read.prefix}.attention.sliding_window_pattern")
    if hasattr(pattern, "__len__"):
        if len(pattern) != layers:
            raise CheckpointError(f"metadata {read.prefix}.attention.sliding_window_pattern is not for {layers} layers")
        return tuple(window if slides else 0 for slides in pattern)
    if pattern is not None:
        period = read.integer("attention.sliding_window_pattern")
        return tuple(window if (layer + 1) % period else 0 for layer in range(layers))
    return tuple(window if windowed(layer) else 0 for layer in range(layers))
