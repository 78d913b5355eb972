"""Reads a decoder's configuration from Hugging Face's config.json, of transformers before and since version 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.operations.activation import ActivationKind
from lutmac.graph.operations.rope_angles import RopeStyle
from lutmac.models.config import DecoderConfig
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig, RopeScaling

ACTIVATIONS: dict[str, ActivationKind] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu2": "relu_squared",
}
Json = Mapping[str, Any]
NO_TURN = 1e30  # what divides a frequency that shall be 0, as in GGUF files


# What transformers takes for keys that a config.json leaves out. Text models within others leave out most.
LLAMA: Json = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
}


def read_decoder_config(config: Json, style: RopeStyle = "half_split") -> DecoderConfig:
    """The keys that all families have, of a config.json with the defaults of the family.

    style: of the family's rope; most files here pair halves.

    Raises CheckpointError for keys that are malformed, UnsupportedModelError for what no operation has.
    """
    refuse_other_models(config)
    config = {**LLAMA, **config}
    read = MetadataReader(config, "")
    hidden_size, heads = read.integer("hidden_size"), read.integer("num_attention_heads")
    head_dim = read.integer("head_dim", 0, low=0)
    if not head_dim and hidden_size % heads:
        raise CheckpointError(f"hidden_size {hidden_size} is not a multiple of {heads} attention heads")
    head_dim = head_dim or hidden_size // heads
    quantization = config.get("quantization_config")
    return DecoderConfig(
        vocab_size=read.integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=read.integer("intermediate_size"),
        num_hidden_layers=read.integer("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=read.integer("num_key_value_heads", heads),
        head_dim=head_dim,
        rms_norm_eps=read.number("rms_norm_eps"),
        max_position_embeddings=read.integer("max_position_embeddings"),
        rope=replace(read_rope(config, head_dim), style=style),
        activation=read_activation(config),
        round_activations=isinstance(quantization, Mapping) and quantization.get("quant_method") == "bitnet",
    )


def refuse_other_models(config: Json) -> None:
    """Raises UnsupportedModelError, naming the key, for what a configuration may ask of a family and no graph has."""
    if config.get("is_causal") is False or config.get("use_bidirectional_attention"):
        key = "is_causal" if config.get("is_causal") is False else "use_bidirectional_attention"
        raise UnsupportedModelError(f"attention in both directions ({key}) is not supported")
    ropes = config.get("rope_parameters")
    by_position = isinstance(ropes, Mapping) and ropes.get("llama_4_scaling_beta")
    if by_position and config.get("model_type") != "ministral3":
        raise UnsupportedModelError("queries scaled by position (llama_4_scaling_beta) are not supported")


def read_activation(config: Json, key: str = "hidden_act") -> ActivationKind:
    """The activation of the MLP. Raises UnsupportedModelError for one that there is no operation for."""
    name = MetadataReader(config, "").text(key)
    if name not in ACTIVATIONS:
        raise UnsupportedModelError(f"activation {name!r} is not supported; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def read_rope(config: Json, head_dim: int) -> RopeConfig:
    """``rope_theta`` and ``rope_scaling``, or what transformers 5 calls ``rope_parameters``."""
    read = MetadataReader(config, "")
    values = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(values, Mapping):
        raise CheckpointError(f"rope_scaling is {values!r:.60}, expected an object")
    of_types = [value for kind, value in values.items() if _of_layers(kind) and value is not None]
    if of_types:
        if any(value != of_types[0] for value in of_types):
            raise UnsupportedModelError(
                f"rope_parameters that differ between {', '.join(values)} are not supported here"
            )
        return read_rope({**config, "rope_parameters": of_types[0]}, head_dim)
    of_rope = MetadataReader(values, "")
    share = of_rope.number("partial_rotary_factor", read.number("partial_rotary_factor", 1.0))
    theta, rotary_dim = (
        of_rope.number("rope_theta", read.number("rope_theta", LLAMA["rope_theta"])),
        int(head_dim * share),
    )
    alpha = of_rope.number("alpha", 0.0)
    if (
        alpha and of_rope.text("rope_type", of_rope.text("type", "")) == "dynamic"
    ):  # Hunyuan's: the theta alone is another
        theta *= alpha ** (head_dim / (head_dim - 2))
    scaling = _scaling(values, read)
    if of_rope.text("rope_type", of_rope.text("type", "default")) == "proportional":
        return RopeConfig("half_split", head_dim, theta, scaling, proportional_factors(head_dim, share))
    return RopeConfig("half_split", rotary_dim, theta, scaling)


def proportional_factors(head_dim: int, share: float) -> tuple[float, ...]:
    """Factors of a rope whose last pairs do not turn: pairs keep their places in a head (Gemma 4, LFM3)."""
    turning = int(share * head_dim // 2)
    return (1.0,) * turning + (NO_TURN,) * (head_dim // 2 - turning)


def _scaling(values: Json, config: MetadataReader) -> RopeScaling:
    read = MetadataReader(values, "")
    kind = read.text("rope_type", read.text("type", "default"))
    if kind in ("su", "yarn") and "short_factor" in values:  # Phi 3's first names of it
        kind = "longrope"
    context = config.integer("max_position_embeddings", 2048)
    # Phi 3 has it outside, and then its ratio to the context is the factor.
    outside = config.integer("original_max_position_embeddings", 0, low=0)
    original = outside or read.integer("original_max_position_embeddings", context)
    attention_factor = read.number("attention_factor") if values.get("attention_factor") is not None else None
    match kind:
        case "default" | "dynamic":  # dynamic changes only what lies beyond max_position_embeddings
            return RopeScaling()
        case "mrope" if "mrope_section" in values:  # Qwen's, of images: in text all three positions are the same
            return RopeScaling()
        case "linear" | "proportional":  # of the latter see read_rope
            factor = _factor(read, 1.0 if kind == "proportional" else None)
            return RopeScaling("none" if factor == 1.0 else "linear", factor)
        case "yarn":
            factor = _factor(read, context / original)
            return RopeScaling(
                "yarn",
                factor,
                original,
                _yarn_attention_factor(read, factor) if attention_factor is None else attention_factor,
                read.number("beta_fast", 32.0) or 32.0,
                read.number("beta_slow", 1.0) or 1.0,
                truncate=values.get("truncate", True) is not False,
            )
        case "llama3":
            low, high = read.number("low_freq_factor"), read.number("high_freq_factor")
            if low >= high:
                raise CheckpointError(f"rope's low_freq_factor {low} is not below its high_freq_factor {high}")
            return RopeScaling("llama3", _factor(read), original, beta_fast=high, beta_slow=low)
        case "longrope":
            factor = context / original if outside else _factor(read, context / original)
            short, long = (_numbers(values, key) for key in ("short_factor", "long_factor"))
            attention_factor = (
                attention_factor if attention_factor is not None else _longrope_attention(factor, original)
            )
            return RopeScaling("longrope", 1.0, original, attention_factor, short_factors=short, long_factors=long)
    raise UnsupportedModelError(
        f"rope scaling {kind!r} is not supported; supported: default, linear, dynamic, proportional, yarn, "
        "llama3, longrope"
    )


def _factor(read: MetadataReader, default: float | None = None) -> float:
    factor = read.number("factor", default)
    if factor <= 0:
        raise CheckpointError(f"rope's factor is {factor}, expected one above 0")
    return factor


def _longrope_attention(factor: float, original: int) -> float:
    return RopeScaling("longrope", factor, original).attention_scale()


def _yarn_attention_factor(read: MetadataReader, factor: float) -> float | None:
    """DeepSeek's two factors, where both are given; None: the usual one."""
    scale, scale_all = read.number("mscale", 0.0), read.number("mscale_all_dim", 0.0)
    if not (scale and scale_all) or factor <= 1:
        return None
    usual = RopeScaling("yarn", factor).attention_scale() - 1
    return (usual * scale + 1) / (usual * scale_all + 1)


def _numbers(values: Json, key: str) -> tuple[float, ...]:
    numbers = values.get(key)
    if not isinstance(numbers, list) or not all(type(n) in (int, float) for n in numbers):
        raise CheckpointError(f"rope's {key} is {numbers!r:.60}, expected a list of numbers")
    return tuple(float(n) for n in numbers)


def read_windows(config: Json, layers: int, windowed: Callable[[int], bool]) -> tuple[int, ...]:
    """``sliding_window`` of the layers that have it: ``layer_types`` says which, or without that key ``windowed``.

    Empty where no layer has one. Raises UnsupportedModelError for layers of other types.
    """
    window = MetadataReader(config, "").integer("sliding_window", 0, low=0)
    types = config.get("layer_types")
    if types is not None:
        if not isinstance(types, list) or len(types) != layers:
            raise CheckpointError(f"layer_types is not a list of {layers} types")
        for kind in types:
            if kind not in ("full_attention", "sliding_attention"):
                raise UnsupportedModelError(f"layers of type {kind!r} are not supported")
    if not window:
        return ()
    sliding = [windowed(i) if types is None else types[i] == "sliding_attention" for i in range(layers)]
    return tuple(window if slides else 0 for slides in sliding) if any(sliding) else ()


def read_ropes_by_type(
    config: Json, head_dim: int, local_theta: float, *, local_head_dim: int | None = None
) -> tuple[RopeConfig, RopeConfig]:
    """The ropes of layers that see all positions and of windowed ones.

    transformers 5 has an object for each in ``rope_parameters``, others may stand beside them. Before, ``rope_scaling``
    and ``rope_theta`` were of the former alone, and ``rope_local_base_freq`` the theta of the latter.
    head_dim, local_head_dim: sizes of their heads, the latter where it is another. local_theta: where the configuration
    has none. Raises CheckpointError where there are objects of other types.
    """
    ropes = config.get("rope_parameters")
    nested = {key: value for key, value in ropes.items() if _of_layers(key)} if isinstance(ropes, Mapping) else {}
    for kind, value in nested.items():
        if value is not None and not isinstance(value, Mapping):
            raise CheckpointError(f"rope_parameters has no object for {kind}: {value!r:.60}")
    theta = config.get("rope_local_base_freq") or local_theta
    plain = {**config, "rope_scaling": None, "rope_parameters": None}
    if not nested:
        return read_rope(config, head_dim), read_rope({**plain, "rope_theta": theta}, local_head_dim or head_dim)
    local = {"rope_theta": theta, **(nested.get("sliding_attention") or {})}
    whole = nested.get("full_attention") or {}
    return read_rope({**config, "rope_parameters": whole}, head_dim), read_rope(
        {**plain, "rope_parameters": local}, local_head_dim or head_dim
    )


def _of_layers(kind: str) -> bool:
    return kind.endswith("_attention")
