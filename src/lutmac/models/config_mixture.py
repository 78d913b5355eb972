"""Reads what a configuration says of a decoder's experts, from config.json or a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.operations.route import ExpertScores
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.metadata import MetadataReader

# Families' names of one thing, in config.json.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k")
_SCALE = ("routed_scaling_factor", "moe_routed_scaling_factor", "route_scale")
_GROUPS = ("n_group", "num_expert_group")
# GGUF's numbers; 3 is a softmax over those chosen.
_SCORES: Mapping[int, tuple[ExpertScores, bool]] = {1: ("softmax", False), 2: ("sigmoid", False), 3: ("softmax", True)}


def json_mixture(
    decoder: DecoderConfig,
    config: Mapping[str, Any],
    *,
    scores: ExpertScores = "softmax",
    shared_width: int = 0,
    dense_layers: Iterable[int] = (),
) -> MixtureConfig:
    """A decoder's configuration with the experts of a config.json that has the defaults of the family.

    Raises CheckpointError for keys that are missing or malformed.
    """
    read = MetadataReader(config, "")
    return MixtureConfig(
        **{
            **vars(decoder),
            "num_experts": read.integer(_first(config, _EXPERTS)),
            "num_experts_per_tok": read.integer(_first(config, _PER_TOKEN)),
            "moe_intermediate_size": read.integer("moe_intermediate_size"),
            "norm_topk_prob": config.get("norm_topk_prob", True) is not False,
            "dense_layers": tuple(dense_layers),
            "expert_scores": scores,
            "routed_scaling_factor": read.number(_first(config, _SCALE), 1.0),
            "expert_groups": read.integer(_first(config, _GROUPS), 1),
            "top_groups": read.integer("topk_group", read.integer(_first(config, _GROUPS), 1)),
            "shared_expert_intermediate_size": shared_width,
        }
    )


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of some names that is there."""
    return next((name for name in names if config.get(name) is not None), names[0])


def json_dense_layers(config: Mapping[str, Any], layers: int, first_experts: int) -> tuple[int, ...]:
    """Layers without experts: ``mlp_layer_types`` says which, or else they are those before the first with experts."""
    types = config.get("mlp_layer_types")
    if types is None:
        return tuple(range(min(first_experts, layers)))
    if not isinstance(types, list) or len(types) != layers or set(map(str, types)) - {"dense", "sparse"}:
        raise CheckpointError(f"mlp_layer_types is not a list of {layers} times dense or sparse")
    return tuple(layer for layer, kind in enumerate(types) if kind == "dense")


@dataclass(frozen=True)
class Unsaid:
    """What holds of a family where a GGUF file does not say. width: of an expert, 0 for that of the MLP."""

    scores: ExpertScores = "softmax"
    normalized: bool = True
    width: int = 0


def gguf_mixture(
    decoder: DecoderConfig,
    metadata: Mapping[str, Any],
    architecture: str,
    unsaid: Unsaid | None = None,
    *,
    shared_width: int = 0,
) -> MixtureConfig:
    """A decoder's configuration with the experts that a GGUF file's metadata has.

    shared_width: of the MLP beside the experts. Raises UnsupportedModelError for scores that no router here has.
    """
    unsaid = unsaid or Unsaid()
    read = MetadataReader(metadata, architecture)
    function = read.integer("expert_gating_func", 0, low=0)
    if function and function not in _SCORES:
        key = f"{architecture}.expert_gating_func"
        raise UnsupportedModelError(f"experts' scores of kind {function} ({key}) are not supported")
    scores, of_chosen = _SCORES[function] if function else (unsaid.scores, False)
    says_normalized = metadata.get(f"{architecture}.expert_weights_norm")
    groups = max(1, read.integer("expert_group_count", 1, low=0))
    return MixtureConfig(
        **{
            **vars(decoder),
            "num_experts": read.integer("expert_count"),
            "num_experts_per_tok": read.same_for_all_layers("expert_used_count"),
            "moe_intermediate_size": read.same_for_all_layers(
                "expert_feed_forward_length", unsaid.width or decoder.intermediate_size
            ),
            "norm_topk_prob": of_chosen or (unsaid.normalized if says_normalized is None else bool(says_normalized)),
            "dense_layers": gguf_dense_layers(read, decoder.num_hidden_layers),
            "expert_scores": scores,
            "routed_scaling_factor": read.number("expert_weights_scale", 1.0) or 1.0,
            "expert_groups": groups,
            "top_groups": max(1, read.integer("expert_group_used_count", groups, low=0)),
            "shared_expert_intermediate_size": shared_width,
        }
    )


def gguf_dense_layers(read: MetadataReader, layers: int) -> tuple[int, ...]:
    """Layers without experts: the leading ones, and those that are none of every ``interleave_moe_layer_step``."""
    leading = read.integer("leading_dense_block_count", 0, low=0)
    step = max(1, read.integer("interleave_moe_layer_step", 1, low=0))
    return tuple(layer for layer in range(layers) if layer < leading or (layer + 1) % step)
