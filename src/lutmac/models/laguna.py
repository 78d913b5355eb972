"""Laguna (poolside, 2026): attention with a softplus gate, normed heads and heads that differ by layer, experts.

Windowed layers have a rope of their own. https://huggingface.co/docs/transformers/model_doc/laguna
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture, Tensors
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_ropes_by_type, read_windows
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_dense_layers, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder, SharedNames
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads
from lutmac.models.rope import RopeConfig

_BIASES = ("mlp.experts.e_score_correction_bias", "mlp.gate.e_score_correction_bias")
GGUF_NAMES = {**MIXTURE_NAMES, **NORMED_HEADS_NAMES, "self_attn.g_proj": "attn_gate", _BIASES[0]: "exp_probs_b.bias"}
PERIOD = 4
LOCAL_THETA = 10000.0
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 100352, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 40,
    "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072,
    "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
    "sliding_window": 512, "gating": True,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5},
        "sliding_attention": {"rope_type": "default", "rope_theta": LOCAL_THETA, "partial_rotary_factor": 1.0},
    },
}  # fmt: skip


@dataclass(frozen=True)
class LagunaConfig(MixtureConfig):
    """A mixture of experts. gates_heads: attention has a gate for each head, else for each float that it makes."""

    gates_heads: bool = True

    def completed(self, tensors: Tensors, build: Callable[[Self], Graph]) -> Self:
        """The matrix of gates tells how many there are."""
        rows = tensors.rows("model.layers.0.self_attn.g_proj.weight")
        return super(LagunaConfig, replace(self, gates_heads=rows in (0, self.heads(0)))).completed(tensors, build)


class Laguna(MixtureDecoder, NormedHeads):
    """Experts that a bias helps to select, and gates of heads or of all that attention makes."""

    SELECTION_BIASES = _BIASES
    SHARED = SharedNames("mlp.shared_expert")
    config: LagunaConfig

    def __init__(self, config: LagunaConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def gated_attention(self, layer: int, x: Value, attended: Value) -> Value:
        """softplus(gate) * attended."""
        width = self.config.heads(layer) if self.config.gates_heads else attended.width
        name = f"layers.{layer}.attention_gate"
        gate = self.linear(f"model.layers.{layer}.self_attn.g_proj", x, width, name)
        return self.gated_by("softplus", gate, attended, name)


def read_config(config: Mapping[str, Any]) -> LagunaConfig:
    """The keys of a config.json. Raises UnsupportedModelError for capped scores of experts."""
    config = {**DEFAULTS, **config}
    for key in ("moe_router_logit_softcapping", "moe_apply_router_weight_on_input"):
        if config.get(key):
            raise UnsupportedModelError(f"{key} {config[key]} is not supported")
    decoder = read_decoder_config({**config, "rope_parameters": None, "rope_scaling": None})
    layers, read = decoder.num_hidden_layers, MetadataReader(config, "")
    rope, local_rope = read_ropes_by_type(config, decoder.head_dim, LOCAL_THETA)
    types = config.get("layer_types")
    windows = () if types is None else read_windows(config, layers, lambda _: False)
    heads = config.get("num_attention_heads_per_layer")
    decoder = replace(decoder, rope=rope, local_rope=local_rope, windows=windows, layer_heads=_heads(heads, layers))
    mixture = json_mixture(
        decoder,
        {**config, "norm_topk_prob": True},
        scores="sigmoid",
        shared_width=read.integer("shared_expert_intermediate_size"),
        dense_layers=json_dense_layers(config, layers, 1),
    )
    return LagunaConfig(**vars(mixture))


def _heads(heads: Any, layers: int) -> tuple[int, ...]:
    """A number for each layer; empty where there is none."""
    if heads is None:
        return ()
    counts = [int(count) for count in heads] if hasattr(heads, "__len__") and not isinstance(heads, str) else []
    if len(counts) != layers or min(counts, default=0) < 1:
        raise CheckpointError(f"attention heads of layers are not {layers} numbers above 0: {heads!r:.60}")
    return tuple(counts)


def read_gguf_config(metadata: Mapping[str, Any]) -> LagunaConfig:
    """GGUF's keys; ``attention.head_count`` may have a number for each layer."""
    read = MetadataReader(metadata, "laguna")
    heads: Any = metadata.get("laguna.attention.head_count")
    layer_heads = () if isinstance(heads, int) else _heads(heads, read.integer("block_count"))
    same = {"laguna.attention.head_count": max(layer_heads)} if layer_heads else {}
    of_all = {key: value for key, value in metadata.items() if key != "laguna.rope.dimension_count_swa"}
    decoder = read_gguf_decoder_config({**of_all, **same}, "laguna", "half_split")
    rotary_dim = read.integer("rope.dimension_count_swa", decoder.rope.rotary_dim)
    decoder = replace(
        decoder,
        windows=read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: layer % PERIOD != 0),
        local_rope=RopeConfig("half_split", rotary_dim, read.number("rope.freq_base_swa", decoder.rope.theta)),
        layer_heads=layer_heads if len(set(layer_heads)) > 1 else (),
    )
    width = read.same_for_all_layers("expert_feed_forward_length")
    shared = read.integer("expert_shared_feed_forward_length", 0, low=0) or (
        read.integer("expert_shared_count", 1, low=0) * width
    )
    mixture = gguf_mixture(decoder, metadata, "laguna", Unsaid("sigmoid", normalized=False), shared_width=shared)
    return LagunaConfig(**vars(mixture))


def build(config: LagunaConfig) -> Graph:
    """The graph of one step."""
    return Laguna(config).model()


ARCHITECTURE = Architecture("laguna", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
