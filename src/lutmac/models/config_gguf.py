"""Reads a decoder's configuration from a GGUF file's metadata (docs/gguf.md in ggml-org/ggml)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.models.config import DecoderConfig
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig, RopeScaling
from lutmac.models.rotation import read_gguf_rotation


def read_gguf_decoder_config(metadata: Mapping[str, Any], architecture: str, style: RopeStyle) -> DecoderConfig:
    """The keys that all families have, by Hugging Face's names.

    architecture: the prefix of the keys. style: GGUF files of some architectures hold q and k in the order that pairs
    neighbours. Raises CheckpointError for keys that are missing or malformed.
    """
    read = MetadataReader(metadata, architecture)
    _refuse_other_models(read)
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
        num_hidden_layers=_layers(read),
        num_attention_heads=heads,
        num_key_value_heads=read.same_for_all_layers("attention.head_count_kv", heads),
        head_dim=head_dim,
        rms_norm_eps=read.number("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=context,
        rope=RopeConfig(style, rotary_dim, theta, scaling_from_gguf(read, context)),
        rotation=read_gguf_rotation(metadata),
    )


def _refuse_other_models(read: MetadataReader) -> None:
    """Raises UnsupportedModelError, naming the key, for what a file may say of a family and no graph here does."""
    if read.metadata.get(f"{read.prefix}.attention.causal", True) is False:
        raise UnsupportedModelError(f"attention in both directions ({read.prefix}.attention.causal) is not supported")
    for key, like in (
        ("embedding_length_out", "embedding_length"),
        ("attention.key_length_swa", "attention.key_length"),
        ("attention.value_length_swa", "attention.value_length"),
        ("rope.dimension_count_swa", "rope.dimension_count"),
    ):
        if read.has(key) and read.has(like) and read.integer(key) != read.integer(like):
            raise UnsupportedModelError(
                f"{read.prefix}.{key} {read.integer(key)} beside {like} {read.integer(like)} is not supported"
            )


def _layers(read: MetadataReader) -> int:
    """The layers of the model itself: the last ones of ``nextn_predict_layers`` guess further tokens, and are not read.

    So llama.cpp has it (llama-model.cpp, ``n_layer``).
    """
    blocks, guessing = read.integer("block_count"), read.integer("nextn_predict_layers", 0, low=0)
    if guessing >= blocks:
        raise CheckpointError(f"metadata {read.prefix}.nextn_predict_layers is {guessing} of {blocks} layers")
    return blocks - guessing


def scaling_from_gguf(read: MetadataReader, context: int) -> RopeScaling:
    """The keys ``rope.scaling.*``, and ``rope.scale_linear`` of older files. Factors of longrope are tensors.

    As llama.cpp reads them (llama-model.cpp, llama-context.cpp): a factor without a type is linear, and attn_factor
    multiplies whatever the type gives. Phi 3's longrope comes without a type: attn_factor and original context tell.
    """
    kind = read.text("rope.scaling.type", "linear")
    factor = read.number("rope.scaling.factor", 0.0) or read.number("rope.scale_linear", 0.0) or 1.0
    original = read.integer("rope.scaling.original_context_length", context)
    attention = read.number("rope.scaling.attn_factor") if read.has("rope.scaling.attn_factor") else None
    if kind == "longrope" or (not read.has("rope.scaling.type") and attention is not None and original < context):
        if factor != 1.0:
            raise UnsupportedModelError(f"{read.prefix}.rope.scaling.factor {factor} of longrope is not supported")
        return RopeScaling("longrope", 1.0, original, 1.0 if attention is None else attention)
    if kind == "none" or (kind in ("linear", "yarn") and factor == 1.0):
        return RopeScaling(attention_factor=attention)
    if kind == "linear":
        return RopeScaling("linear", factor, attention_factor=attention)
    if kind == "yarn":
        recommended = RopeScaling("yarn", factor).attention_scale()
        if read.number("rope.scaling.yarn_log_multiplier", 0.0):  # DeepSeek's second factor, the first being 1
            recommended /= 1 + (recommended - 1) * read.number("rope.scaling.yarn_log_multiplier")
        return RopeScaling(
            "yarn",
            factor,
            original,
            recommended if attention is None else attention * recommended,
            read.number("rope.scaling.yarn_beta_fast", 32.0),
            read.number("rope.scaling.yarn_beta_slow", 1.0),
        )
    raise UnsupportedModelError(f"rope scaling {kind!r} is not supported; supported: none, linear, yarn, longrope")


def read_gguf_windows(
    read: MetadataReader, layers: int, windowed: Callable[[int], bool], *, default: int = 0
) -> tuple[int, ...]:
    """``attention.sliding_window``, of the layers that ``sliding_window_pattern`` gives it to, or else the family.

    The pattern has a truth for each layer (and for those of nextn_predict_layers behind them), or is n: the n-th layer
    of each run of n is without, or with 0 none is. Empty where the file has no window. default: of a file that does
    not say.
    """
    window = read.integer("attention.sliding_window", default, low=0)
    if not window:
        return ()
    pattern: Any = read.metadata.get(f"{read.prefix}.attention.sliding_window_pattern")
    if hasattr(pattern, "__len__"):
        if len(pattern) not in (layers, read.integer("block_count")):
            raise CheckpointError(f"metadata {read.prefix}.attention.sliding_window_pattern is not for {layers} layers")
        return tuple(window if slides else 0 for slides in pattern[:layers])
    if pattern is not None:
        period = read.integer("attention.sliding_window_pattern", low=0)
        return tuple(window if period == 0 or (layer + 1) % period else 0 for layer in range(layers))
    return tuple(window if windowed(layer) else 0 for layer in range(layers))
